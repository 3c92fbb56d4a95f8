//! Canaries: prompts, answers, tokens and sessions stand in no log line at TRACE and in no file.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::house::{House, MODEL, decode};

const PROMPT: &str = "canary-prompt-3f9d";
const ANSWER: &str = "canary-answer-77b1";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn all_bytes(directory: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { all_bytes(&path) } else { std::fs::read(path).unwrap() })
        .collect()
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

// One thread runs everything that this thread's subscriber is to hear: handlers, the client, the provider.
#[tokio::test]
async fn nothing_of_a_redemption_is_logged_or_lies_in_a_file_in_clear() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log works");

    let house = House::open().await;
    house.upstream.say(200, ANSWER);
    let mut body = house.paid(MODEL).await;
    body["messages"][0]["content"] = json!(PROMPT);
    assert_eq!(house.redeem(&body).await.0, 200);
    assert_eq!(house.redeem(&body).await.0, 200);
    body["extra_body"]["llmmask"]["SignedToken"] = json!("AAAA");
    assert_eq!(house.redeem(&body).await.0, 500);
    house.cut_upstream().await;
    let unlucky = house.paid(MODEL).await;
    assert_eq!(house.redeem(&unlucky).await.0, 500);
    drop(guard);

    let mask = &body["extra_body"]["llmmask"];
    let mut canaries = vec![PROMPT.into(), ANSWER.into(), STANDARD.encode(ANSWER).into_bytes()];
    canaries.push(house.session.clone().into_bytes());
    for field in ["Token", "PermanentAbuseToken", "TransientAbuseToken", "TransientAbuseTokenSig"] {
        canaries.push(decode(&mask[field]));
        canaries.push(mask[field].as_str().unwrap().into());
    }
    let log = lines.0.lock().unwrap().clone();
    assert!(has(&log, b"the log works"));
    assert!(has(&log, b"nothing stored"), "the backend's own lines are heard");
    let files = all_bytes(house.home.path());
    assert!(has(&files, b"alice"), "the files are read");
    for canary in canaries {
        let shown = String::from_utf8_lossy(&canary);
        assert!(!has(&log, &canary), "{shown} in the log");
        assert!(!has(&files, &canary), "{shown} in a file");
    }
}
