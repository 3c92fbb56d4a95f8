//! `llmtor tokens` one by one, and what will become of each.

#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::bench::{Backend, Gate, MODEL, chat, hello, llmtor, succeed};
use crate::support::program::Program;

/// The tokens that are not simply in stock.
fn special(backend: &Backend) -> Vec<Value> {
    let report = succeed(backend.room(), &["--json", "tokens", "--home", "client"], "").json();
    report["special"].as_array().unwrap().clone()
}

fn explained(backend: &Backend, id: &str, words: &[&str]) {
    let said = succeed(backend.room(), &["tokens", "explain", id, "--home", "client"], "").stdout;
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

#[test]
fn a_token_is_followed_from_its_call_through_a_kill_to_its_end() {
    let backend = Backend::start(2);
    let gate = Gate::before(&backend.url);
    backend.init(Some(&gate.url));
    backend.stock_up(2);
    assert!(special(&backend).is_empty());
    let daemon = backend.serve();
    let (url, key) = (daemon.base_url.clone(), daemon.api_key.clone());
    let call = thread::spawn(move || {
        // The connection breaks; what is read is not asked about.
        let _ = std::panic::catch_unwind(|| chat(&url, &key, &hello(false)));
    });
    gate.arrived.recv().unwrap();
    // By the daemon, which holds the home.
    let in_use = special(&backend);
    assert_eq!((in_use.len(), &in_use[0]["state"]), (1, &"presented".into()));
    let id = in_use[0]["id"].as_str().unwrap().to_owned();
    explained(&backend, &id, &["in use, since", "waits for the answer", "in doubt"]);
    drop(daemon);
    call.join().unwrap();

    let doubtful = special(&backend);
    assert_eq!((&doubtful[0]["state"], &doubtful[0]["id"]), (&"in_doubt".into(), &id.as_str().into()));
    let listed = succeed(backend.room(), &["tokens", "--home", "client"], "").stdout;
    let line = listed.lines().find(|line| line.starts_with(&id[..8])).unwrap();
    assert!(
        line.contains(MODEL) && line.contains("in doubt, since 20") && line.contains("until 20"),
        "{line}"
    );
    let words = ["same model, same messages", "no second token", "maybe spent", "A restart changes nothing"];
    explained(&backend, &id[..8], &words);
    let explain = ["--json", "tokens", "explain", &id[..6], "--home", "client"];
    let report = succeed(backend.room(), &explain, "").json();
    assert_eq!(
        (&report["token"]["id"], &report["token"]["state"]),
        (&id.as_str().into(), &"in_doubt".into())
    );
    assert!(report["explanation"].as_array().unwrap().len() >= 3, "{report}");

    drop(gate.open);
    let daemon = backend.serve();
    assert_eq!(chat(&daemon.base_url, &daemon.api_key, &hello(false)).status, 200);
    assert!(special(&backend).is_empty());
    drop(daemon);
    llmtor(backend.room(), &[], &["tokens", "explain", &id, "--home", "client"], "")
        .refused(2, &["is not the beginning of a token's id", "`llmtor tokens --home client` lists"]);
}

#[test]
fn an_unknown_or_too_short_id_is_refused_and_losses_are_none_at_first() {
    let room = tempfile::tempdir().unwrap();
    for id in ["abc", "01234567", "nonsense"] {
        llmtor(room.path(), &[], &["tokens", "explain", id, "--home", "h"], "")
            .refused(2, &["is not the beginning of a token's id", id]);
    }
    let losses = |arguments: &[&str]| {
        succeed(room.path(), &[&["tokens", "losses", "--home", "h"], arguments].concat(), "")
    };
    assert!(losses(&[]).stdout.contains("no credit is known to be lost"));
    assert_eq!(losses(&["--json"]).json()["losses"], serde_json::json!([]));
    assert_eq!(losses(&["--forget", "--json"]).json()["forgotten"], 0);
}

/// A relay before `backend` that lets everything through but orders of tokens; told of the first.
fn withholding(backend: &str) -> (String, mpsc::Receiver<()>) {
    let backend: SocketAddr = backend.trim_start_matches("http://").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (order, ordered) = mpsc::channel();
    thread::spawn(move || {
        for mut inbound in listener.incoming().map_while(Result::ok) {
            let mut outbound = TcpStream::connect(backend).unwrap();
            let (mut from, mut to) = (outbound.try_clone().unwrap(), inbound.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let order = order.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = inbound.read(&mut buffer) {
                    if buffer[..read].windows(10).any(|window| window == b"auth-token") {
                        let _ = order.send(());
                        std::thread::park();
                    }
                    outbound.write_all(&buffer[..read]).unwrap();
                }
            });
        }
    });
    (url, ordered)
}

#[test]
fn a_credit_that_is_given_up_is_listed_with_time_and_reason_until_it_is_forgotten() {
    let backend = Backend::start(2);
    backend.init(None);
    backend.stock_up(1);
    // The command dies with its order on the way.
    let (url, ordered) = withholding(&backend.url);
    let config = backend.room().join("client/config.toml");
    let direct = std::fs::read_to_string(&config).unwrap();
    assert!(direct.contains(&backend.url), "{direct}");
    std::fs::write(&config, direct.replace(&backend.url, &url)).unwrap();
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "1", "--home", "client"];
    let minting = Program::start(backend.room(), &mint);
    ordered.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(minting);
    std::fs::write(&config, direct).unwrap();
    let pending = special(&backend);
    assert_eq!(pending[0]["state"], "pending");
    let id = pending[0]["id"].as_str().unwrap();
    explained(
        &backend,
        &id[..8],
        &["pending", "repeats its answer for the same credit", "written down as lost"],
    );

    // Another account signs in.
    let add = ["backend", "account", "add", "bob", "--home", "backend"];
    let session = succeed(backend.room(), &add, "").stdout;
    let login = ["login", "--session-stdin", "--another-account", "--home", "client"];
    succeed(backend.room(), &login, session.trim());
    let losses = succeed(backend.room(), &["tokens", "losses", "--home", "client"], "").stdout;
    assert!(losses.contains(&format!("1 of {MODEL}  given up")) && losses.starts_with("20"), "{losses}");
    let status = succeed(backend.room(), &["status", "--home", "client"], "").stdout;
    assert!(status.contains("losses: 1 credit(s); `llmtor tokens losses`"), "{status}");
    succeed(backend.room(), &["tokens", "losses", "--forget", "--home", "client"], "");
    let status = succeed(backend.room(), &["status", "--json", "--home", "client"], "").json();
    assert_eq!(status["credits_lost"], 0);
}

#[test]
fn the_account_is_told_while_a_mint_is_under_way_and_a_pause_reaches_a_command_without_a_daemon() {
    let backend = Backend::start(5);
    backend.init(None);
    backend.stock_up(1);
    let (url, ordered) = withholding(&backend.url);
    let config = backend.room().join("client").join("config.toml");
    let direct = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, direct.replace(&backend.url, &url)).unwrap();
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "2", "--home", "client"];

    let daemon = backend.serve();
    let minting = Program::start(backend.room(), &mint);
    ordered.recv_timeout(Duration::from_secs(60)).unwrap();
    let asked = std::time::Instant::now();
    let account = succeed(backend.room(), &["account", "--home", "client"], "").stdout;
    assert!(account.contains(MODEL), "{account}");
    // The order is withheld for thirty seconds.
    assert!(asked.elapsed() < Duration::from_secs(20));
    drop(minting);
    drop(daemon);

    let minting = Program::start(backend.room(), &mint);
    ordered.recv_timeout(Duration::from_secs(60)).unwrap();
    let paused = succeed(backend.room(), &["pause", "--home", "client"], "").stdout;
    assert!(paused.contains("nothing leaves this machine"), "{paused}");
    drop(minting);
    let refused = ["account", "--home", "client"];
    llmtor(backend.room(), &[], &refused, "").refused(1, &["paused", "`llmtor resume --home client`"]);
}
