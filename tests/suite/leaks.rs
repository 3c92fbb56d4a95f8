//! Canaries: what a caller says, is answered, or is known by must not be found where it has no business.
//!
//! Two real processes log everything they and their libraries can say (trace). Planted are a prompt, its
//! answer (the embedded model echoes), headers and identifying fields; searched are the logs, every file under
//! both homes and the temporary directory, and the bytes that the backend received. The daemon is stopped in an orderly
//! way, and killed with calls under way.

#[cfg(target_os = "linux")]
mod memory;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::support::canary::{Canary, contains, hex};
use super::support::world::{MODEL, World};

/// A place that was searched.
struct Place {
    name: String,
    content: Vec<u8>,
}

fn files_under(root: &Path) -> Vec<Place> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                // A file may be gone by now (SQLite's side files); then it holds nothing.
                let content = std::fs::read(&path).unwrap_or_default();
                found.push(Place { name: path.display().to_string(), content });
            }
        }
    }
    found
}

/// `canary in place`, for each pair found.
fn search(canaries: &[Canary], places: &[Place]) -> Vec<String> {
    let mut found = Vec::new();
    for place in places {
        for canary in canaries.iter().filter(|canary| canary.is_in(&place.content)) {
            found.push(format!("{} in {}", canary.what, place.name));
        }
    }
    found
}

fn assert_clean(when: &str, canaries: &[Canary], places: &[Place]) {
    let found = search(canaries, places);
    assert!(found.is_empty(), "{when}: {found:#?}");
}

/// Decoded values of these `llmmask` fields in a recorded request.
fn payment(request: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(request);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned()).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let fields = [
        "Token",
        "SignedToken",
        "PermanentAbuseToken",
        "PermanentAbuseTokenSig",
        "TransientAbuseToken",
        "TransientAbuseTokenSig",
    ];
    fields
        .iter()
        .map(|field| {
            let value = json["extra_body"]["llmmask"][field].as_str();
            STANDARD.decode(value.unwrap_or_else(|| panic!("no {field} in the request"))).unwrap()
        })
        .collect()
}

fn logs(world: &World) -> Vec<Place> {
    // The ready line carries the key on purpose: it is for the program that started the daemon.
    let stdout = world.daemon.program.stdout();
    let behind_ready = stdout.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    vec![
        Place { name: "the daemon's log".into(), content: world.daemon.program.stderr() },
        Place { name: "the daemon's output".into(), content: stdout[behind_ready..].to_vec() },
        Place { name: "the backend's log".into(), content: world.backend.stderr() },
        Place { name: "the backend's output".into(), content: world.backend.stdout() },
        Place { name: "the commands' output".into(), content: world.said_by_commands.clone() },
    ]
}

/// Kills the daemon while a call with `body`, of which `canary` is a part, waits for its answer; its log, and all files.
fn kill_in_call(world: &mut World, body: &str, canary: &[u8]) -> (Place, Vec<Place>) {
    let before = world.relay.recorded().len();
    std::thread::scope(|scope| {
        let daemon = &world.daemon;
        let call = scope.spawn(move || {
            // The connection breaks; what is read is not asked about.
            let _ = std::panic::catch_unwind(|| daemon.post_chat(&[], body));
        });
        while !world.relay.recorded().iter().skip(before).any(|request| contains(request, canary)) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let pid = daemon.program.pid().to_string();
        assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        call.join().unwrap();
    });
    world.daemon.program.kill();
    let log = Place { name: "the killed daemon's log".into(), content: world.daemon.program.stderr() };
    assert!(log.content.len() > 1_000, "the daemon logged next to nothing at trace level");
    (log, files_under(world.room()))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one life of a daemon, told in its order")]
fn a_canary_is_found_nowhere_but_in_the_prompt() {
    let prompt = "canaryPrompt7f3aQxW";
    let identifying = [
        ("User-Agent", "canaryUserAgent81"),
        ("OpenAI-Organization", "canaryOrganization82"),
        ("OpenAI-Project", "canaryProject83"),
        ("X-Stainless-Lang", "canaryStainlessLang84"),
        ("X-Stainless-Runtime-Version", "canaryStainlessVersion85"),
        ("Cookie", "sessionID=canaryCookie86"),
        ("X-Forwarded-For", "canaryForwarded87"),
        ("Idempotency-Key", "canaryIdempotency88"),
    ];
    let fields = r#""user":"canaryUserField91","metadata":{"k":"canaryMetadata92"},
        "safety_identifier":"canarySafety93","prompt_cache_key":"canaryCacheKey94","store":false"#;
    let body = |stream: bool, text: &str| {
        format!(
            r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{text}"}}],
            "stream":{stream},{fields}}}"#
        )
    };

    let mut world = World::start(8, "trace");
    let plain = world.daemon.post_chat(&identifying, &body(false, prompt));
    assert_eq!(plain.status, 200, "{}", plain.body);
    assert!(plain.body.contains(prompt), "the answer does not echo, so no canary was planted in it");
    let streamed = world.daemon.post_chat(&identifying, &body(true, prompt));
    assert_eq!(streamed.status, 200, "{}", streamed.body);
    assert!(streamed.body.contains("[DONE]"));

    // Bad input and a wrong key.
    let refused =
        world.daemon.post_chat(&[("Authorization", "Bearer sk-canaryWrongKey96")], &body(false, prompt));
    assert_eq!(refused.status, 401, "{}", refused.body);
    let broken =
        world.daemon.post_chat(&identifying, &format!(r#"{{"model":"{MODEL}","messages":"{prompt}","#));
    assert_eq!(broken.status, 400, "{}", broken.body);
    let unknown = world.daemon.post_chat(
        &[],
        &format!(r#"{{"model":"no-such","messages":[{{"role":"user","content":"{prompt}"}}]}}"#),
    );
    assert_eq!(unknown.status, 404, "{}", unknown.body);

    // A call whose answer never comes leaves a token in doubt on disk.
    world.relay.swallow_answers(true);
    let lost = world.daemon.post_chat(&identifying, &body(false, "canaryLostPrompt97"));
    assert!(lost.status >= 500, "{} {}", lost.status, lost.body);

    let again = body(false, "canaryLostPrompt97");
    world.relay.swallow_answers(false);
    let resumed = world.daemon.post_chat(&[("X-Stainless-Retry-Count", "1")], &again);
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    world.relay.swallow_answers(true);
    let lost = world.daemon.post_chat(&identifying, &body(true, "canaryDoubt98"));
    assert!(lost.status >= 500, "{} {}", lost.status, lost.body);

    // Killed while a call waits for its answer, which is then had by the same request after the restart.
    let killed = body(true, "canaryKilled99");
    let (killed_log, after_kill) = kill_in_call(&mut world, &killed, b"canaryKilled99");
    world.relay.swallow_answers(false);
    world.daemon = world.serve("client", &[]);
    let reply = world.daemon.post_chat(&[], &killed);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let stock = world.report("client", &["tokens"])["models"][MODEL].clone();
    assert_eq!((&stock["in_doubt"], &stock["spent"]), (&1.into(), &4.into()), "{stock}");

    let mut received = world.relay.recorded();
    received.retain(|request| !request.is_empty());
    assert!(received.len() >= 3, "the relay saw {} connections", received.len());
    assert!(contains(&received[0], prompt.as_bytes()), "the relay did not record the prompt");

    let mut spoken =
        vec![Canary::new("the prompt", prompt), Canary::new("the lost prompt", "canaryLostPrompt97")];
    for word in ["canaryDoubt98", "canaryKilled99"] {
        spoken.push(Canary::new(word, word));
    }
    for (name, value) in identifying {
        spoken.push(Canary::new(name, value));
    }
    for word in
        ["canaryUserField91", "canaryMetadata92", "canarySafety93", "canaryCacheKey94", "canaryWrongKey96"]
    {
        spoken.push(Canary::new(word, word));
    }
    let mut paid = Vec::new();
    for request in &received {
        for bytes in payment(request) {
            paid.push(Canary::new("a token or signature", bytes));
        }
    }
    let secrets = vec![
        Canary::new("the session", world.session.clone()),
        Canary::new("the API key", world.daemon.api_key.clone()),
    ];

    for canaries in [&spoken, &paid] {
        assert_clean("killed", canaries, &after_kill);
        assert_clean("killed", canaries, std::slice::from_ref(&killed_log));
    }

    // While everything runs, write-ahead logs included; then after an orderly end.
    for when in ["running", "stopped"] {
        if when == "stopped" {
            assert!(world.daemon.program.stop().success());
            assert!(world.backend.stop().success());
        }
        let logs = logs(&world);
        let disk = files_under(world.room());
        assert!(disk.iter().any(|place| place.name.contains("vault")), "no vault file was searched");

        assert_clean(when, &spoken, &logs);
        assert_clean(when, &spoken, &disk);
        assert_clean(when, &paid, &logs);
        assert_clean(when, &paid, &disk);
        assert_clean(when, &secrets, &logs);
        let client_disk: Vec<Place> = files_under(&world.client_home())
            .into_iter()
            .filter(|place| !place.name.ends_with("api-key"))
            .collect();
        assert_clean(when, &secrets, &client_disk);
    }

    // What the backend received: the prompt and the payment, and nothing else of ours.
    let wire: Vec<Place> =
        received.into_iter().map(|content| Place { name: "a request".into(), content }).collect();
    assert_clean("on the wire", &spoken[4..], &wire);
    assert_clean("on the wire", &secrets, &wire);
}

#[test]
fn the_search_finds_a_planted_canary_in_every_disguise() {
    let room = tempfile::tempdir().unwrap();
    let canary = || Canary::new("canary", "canary-planted-here");
    let hex = hex(&canary().bytes);
    let disguises = [
        "canary-planted-here".to_owned(),
        hex.clone(),
        hex.to_uppercase(),
        STANDARD.encode("canary-planted-here"),
        STANDARD.encode("x canary-planted-here, and more"),
        STANDARD.encode("xy canary-planted-here"),
        STANDARD.encode("xyz canary-planted-here {}"),
    ];
    std::fs::create_dir(room.path().join("deep")).unwrap();
    for disguise in disguises {
        std::fs::write(room.path().join("deep/file"), format!("before {disguise} after")).unwrap();
        assert_eq!(search(&[canary()], &files_under(room.path())).len(), 1, "{disguise}");
    }
    std::fs::write(room.path().join("deep/file"), "canary-planted-her").unwrap();
    assert!(search(&[canary()], &files_under(room.path())).is_empty());
}
