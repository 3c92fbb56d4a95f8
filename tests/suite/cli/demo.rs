//! `llmtor demo`: everything in one process.

use serde_json::Value;

use super::bench::{chat, hello, llmtor, succeed};
use crate::support::program::Program;

const MODEL: &str = super::bench::MODEL;

fn start(room: &std::path::Path, more: &[&str]) -> (Program, Value) {
    let mut arguments = vec!["demo", "--listen", "127.0.0.1:0", "--json", "--credits", "4"];
    arguments.extend_from_slice(more);
    let mut demo = Program::start(room, &arguments);
    let ready = demo.ready();
    assert_eq!(ready["event"], "ready");
    (demo, ready)
}

#[test]
fn a_demo_answers_and_each_call_spends_one_token() {
    let room = tempfile::tempdir().unwrap();
    let (mut demo, ready) = start(room.path(), &[]);
    let text = |key: &str| ready[key].as_str().unwrap();
    let home = text("home");
    assert_eq!(ready["models"], serde_json::json!(["gpt-4.1", "gpt-4.1-mini"]));
    let stock = || succeed(room.path(), &["tokens", "--json", "--home", home], "").json()["models"].clone();
    assert_eq!((&stock()[MODEL]["available"], &stock()["gpt-4.1"]["available"]), (&4.into(), &4.into()));

    let plain = chat(text("base_url"), text("api_key"), &hello(false));
    assert_eq!(plain.status, 200, "{}", plain.body);
    assert!(plain.body.contains("good morning"), "{}", plain.body);
    assert_eq!(stock()[MODEL]["available"], 3);

    let streamed = chat(text("base_url"), text("api_key"), &hello(true));
    assert!(streamed.body.contains("chat.completion.chunk") && streamed.body.contains("data: [DONE]"));
    assert_eq!((&stock()[MODEL]["available"], &stock()[MODEL]["spent"]), (&2.into(), &2.into()));
    assert_eq!(stock()["gpt-4.1"]["available"], 4);

    let status = succeed(room.path(), &["status", "--json", "--home", home], "").json();
    assert_eq!(status["daemon"]["base_url"], ready["base_url"]);
    let pointers = succeed(room.path(), &["env", "--home", home], "").stdout;
    assert!(pointers.contains(text("base_url")) && pointers.contains(text("api_key")), "{pointers}");

    assert!(demo.stop().success());
    assert!(!std::path::Path::new(home).exists(), "the temporary home is removed");
}

#[test]
fn a_demo_started_again_in_its_home_adds_only_what_is_missing() {
    let room = tempfile::tempdir().unwrap();
    let (mut demo, ready) = start(room.path(), &["--home", "d"]);
    let key = ready["api_key"].as_str().unwrap();
    assert_eq!(chat(ready["base_url"].as_str().unwrap(), key, &hello(false)).status, 200);
    assert!(demo.stop().success());

    let rest = succeed(room.path(), &["tokens", "--json", "--home", "d"], "").json();
    assert_eq!(rest["models"][MODEL]["available"], 3, "tokens stay in a home that was named");

    let (_demo, ready) = start(room.path(), &["--home", "d"]);
    assert_eq!(ready["api_key"], key);
    let stock = succeed(room.path(), &["tokens", "--json", "--home", "d"], "").json();
    assert_eq!(stock["models"][MODEL]["available"], 4);
    let account = succeed(room.path(), &["account", "--json", "--home", "d"], "").json();
    assert_eq!(account["used"][MODEL], 5, "four tokens at first, one more now");
    assert_eq!(chat(ready["base_url"].as_str().unwrap(), key, &hello(false)).status, 200);
}

#[test]
fn a_demo_passes_prompts_to_an_upstream_with_its_key() {
    let room = tempfile::tempdir().unwrap();
    let (_provider, provider) = start(room.path(), &[]);
    let upstream = provider["base_url"].as_str().unwrap();
    let arguments = [
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--credits",
        "1",
        "--upstream",
        upstream,
        "--upstream-model",
        "gpt-4.1",
        "--upstream-key-env",
        "UPSTREAM_KEY",
    ];
    let key = [("UPSTREAM_KEY", provider["api_key"].as_str().unwrap())];
    let mut demo = Program::start_in(room.path(), &key, &arguments);
    let ready = demo.ready();
    let reply = chat(ready["base_url"].as_str().unwrap(), ready["api_key"].as_str().unwrap(), &hello(false));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("good morning"), "{}", reply.body);
    let home = provider["home"].as_str().unwrap();
    let paid = succeed(room.path(), &["tokens", "--json", "--home", home], "").json();
    assert_eq!(paid["models"]["gpt-4.1"]["spent"], 1, "the model that was asked for upstream");
}

#[test]
fn a_demo_keeps_away_from_a_home_used_in_earnest() {
    let room = tempfile::tempdir().unwrap();
    succeed(room.path(), &["tokens", "--home", "mine"], "");
    let demo = ["demo", "--home", "mine", "--listen", "127.0.0.1:0"];
    llmtor(room.path(), &[], &demo, "").refused(2, &["mine", "play money", "empty directory"]);
}

#[test]
fn a_demo_says_what_to_paste() {
    let room = tempfile::tempdir().unwrap();
    let demo = Program::start(room.path(), &["demo", "--listen", "127.0.0.1:0", "--credits", "1"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let mut said = String::new();
    while !said.contains("Ctrl-C") && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(50));
        said = String::from_utf8(demo.stdout()).unwrap();
    }
    for words in [
        "curl http://127.0.0.1:",
        "from openai import OpenAI",
        "import OpenAI from",
        "export OPENAI_BASE_URL=",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
}
