//! What leaves: the same head for everyone, a stream of its own for each call.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use llmtor::anonymous::redeem::record::{CallLog, Observer, Outcome};
use llmtor::anonymous::transport::{Company, Departure, Way};

use super::{Bench, prompt, settings};
use crate::support::scripted::{Act, Scripted};

#[tokio::test]
async fn the_head_is_fixed_and_the_body_is_prompt_and_payment_alone() {
    let bench = Bench::new(1, Scripted::playing(vec![Act::completion("hi")]).await).await;
    bench.ask("hello").await.unwrap();
    let seen = bench.backend.seen().remove(0);
    let expected = format!(
        "POST /api/v1/llm-proxy HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json\r\n\
         accept-encoding: identity\r\ncontent-length: 4096\r\nconnection: close\r\n\r\n",
        bench.backend.url().trim_start_matches("http://")
    );
    assert_eq!(String::from_utf8(seen.head.clone()).unwrap(), expected);
    let text = String::from_utf8(seen.body.clone()).unwrap();
    let messages = prompt("hello").messages;
    let start = format!(r#"{{"model":"gpt-4.1","messages":{messages},"extra_body":{{"llmmask":{{"Token":""#);
    assert!(text.starts_with(&start));
    assert!(text.trim_end_matches(' ').ends_with("\"}}}"));
    let json = seen.json();
    let fields: Vec<&String> = json["extra_body"]["llmmask"].as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 7);
}

#[tokio::test]
async fn the_record_of_a_call_is_what_went_over_the_wire_and_nothing_of_its_content() {
    let log = Arc::new(CallLog::default());
    let mut settings = settings();
    settings.observer = Arc::clone(&log) as Arc<dyn Observer>;
    settings.deadlines.pause = std::time::Duration::from_millis(1);
    let cut = Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut".to_vec());
    let acts = vec![cut, Act::completion("canary-answer")];
    let bench = Bench::with(1, Scripted::playing(acts).await, settings).await;
    bench.ask("canary-prompt").await.unwrap();
    let calls = log.latest();
    let [call] = calls.as_slice() else { panic!("{} calls", calls.len()) };
    assert_eq!((call.outcome, call.attempts), (Outcome::Answered, 2));
    let seen = bench.backend.seen();
    assert_eq!(seen.len(), call.sendings.len());
    for (sent, seen) in call.sendings.iter().zip(&seen) {
        let head = sent.head.as_ref().map(|head| format!("{head}\r\n\r\n").into_bytes());
        assert_eq!(head, Some(seen.head.clone()));
        assert_eq!(sent.body, seen.body.len() as u64);
        assert_eq!(sent.departure, Departure { way: Way::Loopback, company: Company::Nobody });
    }
    let record = format!("{calls:?}");
    assert!(!record.contains("canary") && !record.contains(&seen[0].token()), "{record}");
    // Without a token nothing leaves, and that is recorded, too.
    bench.ask("another").await.err().unwrap();
    assert_eq!((log.latest()[0].outcome, log.latest()[0].attempts), (Outcome::NoToken, 0));
    assert_eq!(log.counts().of(Outcome::Answered), 1);
}

#[tokio::test]
async fn an_older_backend_is_sent_three_fields() {
    let mut settings = settings();
    settings.abuse = llmtor::vault::AbuseRule::Omitted;
    let bench = Bench::with(1, Scripted::playing(vec![Act::completion("hi")]).await, settings).await;
    bench.ask("hello").await.unwrap();
    let json = bench.backend.seen()[0].json();
    let fields: HashSet<&str> =
        json["extra_body"]["llmmask"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, HashSet::from(["Token", "SignedToken", "ModelName"]));
}

#[tokio::test]
async fn each_call_has_a_connection_and_a_token_of_its_own() {
    let bench = Bench::new(8, Scripted::start(|_, _| Act::completion("hi")).await).await;
    for _ in 0..4 {
        bench.ask("hello").await.unwrap();
    }
    let calls = (0..4).map(|_| bench.ask("hello"));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    let seen = bench.backend.seen();
    let ports: HashSet<_> = seen.iter().map(|seen| seen.from).collect();
    let tokens: HashSet<_> = seen.iter().map(crate::support::scripted::Seen::token).collect();
    assert_eq!((ports.len(), tokens.len()), (8, 8));
}

/// A log that keeps what is written to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_of_prompt_token_or_answer_is_logged_even_at_trace() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Calls run on this thread: the runtime of the test has no other.
    let _guard = tracing::subscriber::set_default(subscriber);
    let acts = vec![
        Act::refusal("invalid token for model gpt-4.1 canary-refused"),
        Act::Raw(b"HTTP/1.1 200 OK\r\nx: canary-header\r\ncontent-length: 99\r\n\r\ncanary-cut".to_vec()),
        Act::refusal("canary-failure"),
        Act::completion("canary-answer"),
    ];
    let bench = Bench::new(2, Scripted::playing(acts).await).await;
    bench.ask("canary-prompt").await.unwrap();
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("does not accept a token's signature"), "the alarm is there: {written}");
    assert!(!written.contains("canary"), "{written}");
    for seen in bench.backend.seen() {
        assert!(!written.contains(&seen.token()));
    }
}
