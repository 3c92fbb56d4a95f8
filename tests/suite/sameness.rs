//! What leaves for the backend does not depend on which program asked: the bytes of a redemption are the
//! same for the official Python and Node packages and for bare HTTP.
//!
//! Needs `tests/clients/.venv` and `tests/clients/node_modules` (README, "Tests"). Where they are absent the
//! missing half is skipped, loudly; with `CI` set that is a failure.

use super::support::sdk::sdk;
use super::support::world::{MODEL, World};

const QUESTION: &str = "Wie heißt das? \"sameness\" \\ 日本";

/// The request with the two values that are new in each redemption made equal; their lengths stay.
fn masked(request: &[u8]) -> String {
    let mut text = String::from_utf8(request.to_vec()).unwrap();
    for field in ["\"Token\":\"", "\"SignedToken\":\""] {
        let start = text.find(field).unwrap_or_else(|| panic!("no {field} in a request")) + field.len();
        let length = text[start..].find('"').unwrap();
        text.replace_range(start..start + length, &"x".repeat(length));
    }
    text
}

#[test]
fn every_client_is_the_same_client_to_the_backend() {
    let world = World::start(8, "warn");
    let mut callers = Vec::new();

    // Bare HTTP: other key order, whitespace and escapes, other fields, other headers.
    let quoted = serde_json::to_string(QUESTION).unwrap();
    let escaped = QUESTION.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
    let bodies = [
        format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":{quoted}}}]}}"#),
        format!(
            r#"{{ "temperature": 0.3, "stream": true, "stream_options": {{"include_usage": true}}, "tools": [],
            "messages" : [ {{ "content" : "{escaped}" , "role" : "user" }} ], "user": "u-1",
            "model" : "{MODEL}", "unheard_of": [1, 2, 3] }}"#
        ),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let headers = [("User-Agent", "curl/8.0"), ("Accept", "*/*"), ("X-Anything", "something")];
        let reply = world.daemon.post_chat(&headers[..=number], body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        callers.push(format!("bare {number}"));
    }

    for name in ["python", "node"] {
        for mode in ["plain", "stream"] {
            let Some(mut command) = sdk(name) else { continue };
            let output = command
                .args([mode, MODEL, QUESTION])
                .env("OPENAI_BASE_URL", &world.daemon.base_url)
                .env("OPENAI_API_KEY", &world.daemon.api_key)
                .env("OPENAI_ORG_ID", "org-of-the-caller")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{name} {mode}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(said.contains("sameness"), "{name} {mode} got no answer: {said}");
            callers.push(format!("{name} {mode}"));
        }
    }

    let requests: Vec<String> = world.relay.recorded().iter().map(|request| masked(request)).collect();
    assert_eq!(requests.len(), callers.len(), "one redemption a call");
    for (caller, request) in callers.iter().zip(&requests) {
        assert_eq!(request, &requests[0], "{caller} differs from {}", callers[0]);
    }
}

#[test]
fn masking_hides_two_values_and_nothing_else() {
    let one = masked(br#"{"a":1,"Token":"abc","SignedToken":"de"}"#);
    assert_eq!(one, r#"{"a":1,"Token":"xxx","SignedToken":"xx"}"#);
    assert_ne!(one, masked(br#"{"a":2,"Token":"abc","SignedToken":"de"}"#));
    assert_ne!(one, masked(br#"{"a":1,"Token":"abcd","SignedToken":"de"}"#));
}
