//! Pausing: nothing leaves, and nothing is lost by it.

use std::thread;

use serde_json::Value;

use super::bench::{Backend, Gate, MODEL, chat, hello, llmtor, succeed};

#[test]
fn a_pause_refuses_calls_and_the_identity_plane_lets_calls_under_way_end_and_outlives_a_restart() {
    let backend = Backend::start(4);
    let gate = Gate::before(&backend.url);
    backend.init(Some(&gate.url));
    backend.stock_up(2);
    let mut daemon = backend.serve();
    let (url, key) = (daemon.base_url.clone(), daemon.api_key.clone());
    let call = thread::spawn(move || chat(&url, &key, &hello(false)));
    gate.arrived.recv().unwrap();

    let room = backend.room();
    let paused = succeed(room, &["pause", "--home", "client", "--json"], "").json();
    assert_eq!((&paused["before"], &paused["passage"]), (&"open".into(), &"paused".into()));
    let again = succeed(room, &["pause", "--home", "client"], "");
    assert!(again.stdout.contains("paused already") && again.stdout.contains("llmtor resume"));

    let other = hello(false).replace("morning", "evening");
    let refused = chat(&daemon.base_url, &daemon.api_key, &other);
    let error: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &error["error"]["code"]), (503, &"paused".into()), "{}", refused.body);
    assert!(error["error"]["message"].as_str().unwrap().contains("`llmtor resume`"), "{}", refused.body);

    // The one under way ends as if nothing were.
    gate.open.send(()).unwrap();
    assert_eq!(call.join().unwrap().status, 200);
    assert_eq!(backend.stock()["available"], 1);

    for command in [
        &["account", "--home", "client"][..],
        &["tokens", "mint", "--model", MODEL, "--count", "1", "--home", "client"],
        &["abuse", "rotate", "--home", "client"],
    ] {
        llmtor(room, &[], command, "").refused(1, &["paused", "llmtor resume"]);
    }
    let status = succeed(room, &["status", "--home", "client"], "");
    assert!(status.stdout.starts_with("Paused: nothing leaves"), "{}", status.stdout);
    let doctor = llmtor(room, &[], &["doctor", "--home", "client"], "");
    assert!(doctor.all().contains("llmtor resume"), "{}", doctor.all());

    assert!(daemon.program.stop().success());
    // Without a daemon it holds as well.
    llmtor(room, &[], &["account", "--home", "client"], "").refused(1, &["llmtor resume"]);
    let daemon = backend.serve();
    let refused = chat(&daemon.base_url, &daemon.api_key, &other);
    assert_eq!(refused.status, 503, "{}", refused.body);

    succeed(room, &["resume", "--home", "client"], "");
    drop(gate.open);
    let answered = chat(&daemon.base_url, &daemon.api_key, &other);
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(backend.stock()["spent"], 2);
    assert_eq!(succeed(room, &["account", "--home", "client", "--json"], "").json()["credits"][MODEL], 2);
}
