//! Starting, stopping, dying, and homes in a bad state.

use std::net::TcpListener;
use std::thread;

use super::bench::{Backend, Gate, chat, hello, llmtor, succeed};

#[test]
fn sigterm_lets_a_call_in_flight_end() {
    let backend = Backend::start(2);
    let gate = Gate::before(&backend.url);
    backend.init(Some(&gate.url));
    backend.stock_up(2);
    let mut daemon = backend.serve();
    let (url, key) = (daemon.base_url.clone(), daemon.api_key.clone());
    let call = thread::spawn(move || chat(&url, &key, &hello(false)));
    gate.arrived.recv().unwrap();

    let stopping = thread::spawn(move || daemon.program.stop());
    // It is stopping once it no longer accepts; the call is still waiting then.
    let address = daemon.base_url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    while TcpListener::bind(&address).is_err() {
        thread::yield_now();
    }
    gate.open.send(()).unwrap();
    assert_eq!(call.join().unwrap().status, 200);
    assert!(stopping.join().unwrap().success());
    assert_eq!((&backend.stock()["available"], &backend.stock()["spent"]), (&1.into(), &1.into()));
}

#[test]
fn a_killed_daemon_loses_nothing_and_the_same_request_gets_its_answer() {
    let backend = Backend::start(2);
    let gate = Gate::before(&backend.url);
    backend.init(Some(&gate.url));
    backend.stock_up(2);
    let daemon = backend.serve();
    let (url, key) = (daemon.base_url.clone(), daemon.api_key.clone());
    let call = thread::spawn(move || {
        // The connection breaks; what is read is not asked about.
        let _ = std::panic::catch_unwind(|| chat(&url, &key, &hello(false)));
    });
    gate.arrived.recv().unwrap();
    // SIGKILL.
    drop(daemon);
    call.join().unwrap();
    assert_eq!((&backend.stock()["available"], &backend.stock()["in_doubt"]), (&1.into(), &1.into()));

    drop(gate.open);
    let daemon = backend.serve();
    let reply = chat(&daemon.base_url, &daemon.api_key, &hello(false));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let stock = backend.stock();
    assert_eq!((&stock["available"], &stock["in_doubt"], &stock["spent"]), (&1.into(), &0.into(), &1.into()));
}

#[test]
fn a_port_in_use_is_named_with_its_holder() {
    let backend = Backend::start(0);
    backend.init(None);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = llmtor(backend.room(), &[], &["serve", "--home", "client", "--listen", &address], "");
    refused.refused(1, &[&address, "in use", "--listen"]);
    if cfg!(target_os = "linux") {
        assert!(refused.stderr.contains(&format!("(pid {})", std::process::id())), "{}", refused.stderr);
    }
    // The other half of `localhost` counts, too.
    if let Ok(taken) = TcpListener::bind("[::1]:0") {
        let listen = format!("localhost:{}", taken.local_addr().unwrap().port());
        let refused = llmtor(backend.room(), &[], &["serve", "--home", "client", "--listen", &listen], "");
        refused.refused(1, &[&taken.local_addr().unwrap().to_string(), "in use"]);
    }

    // Another home's daemon is told from other programs; this home's is found before its port is.
    let daemon = backend.serve();
    let address = daemon.base_url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    succeed(
        backend.room(),
        &["init", "--backend", &backend.url, "--keys", "keys.json", "--home", "other"],
        "",
    );
    let refused = llmtor(backend.room(), &[], &["serve", "--home", "other", "--listen", &address], "");
    refused.refused(1, &[&address, "in use"]);
    let doctor = ["doctor", "--json", "--home", "other", "--set", &format!("server.listen={address}")];
    let report = llmtor(backend.room(), &[], &doctor, "").json();
    let checks = report["checks"].as_array().unwrap();
    let endpoint = checks.iter().find(|check| check["name"] == "endpoint").unwrap();
    assert_eq!(endpoint["verdict"], "problem", "{report}");
    if cfg!(target_os = "linux") {
        assert!(
            refused.stderr.contains("by llmtor (pid ") && refused.stderr.contains("another home"),
            "{}",
            refused.stderr
        );
        assert!(endpoint["detail"].as_str().unwrap().contains("by llmtor (pid "), "{report}");
    }
    let refused = llmtor(backend.room(), &[], &["serve", "--home", "client", "--listen", &address], "");
    refused.refused(3, &["a daemon of this home is running already"]);
}

#[test]
fn a_damaged_vault_is_told_and_left_alone() {
    let room = tempfile::tempdir().unwrap();
    succeed(room.path(), &["tokens", "--home", "h"], "");
    let vault = room.path().join("h/vault.db");
    std::fs::write(&vault, "this is no database, but it is long enough to be taken for one").unwrap();
    llmtor(room.path(), &[], &["tokens", "--home", "h"], "").refused(1, &["vault.db", "damaged", "backup"]);
    assert!(std::fs::read_to_string(&vault).unwrap().starts_with("this is no database"));
}

#[test]
fn a_home_that_cannot_be_one_is_told() {
    let room = tempfile::tempdir().unwrap();
    std::fs::write(room.path().join("file"), "").unwrap();
    llmtor(room.path(), &[], &["tokens", "--home", "file"], "").refused(1, &["not a directory", "--home"]);
    // To root, every directory is writable; proc's is not even for root.
    llmtor(room.path(), &[], &["tokens", "--home", "/proc/llmtor"], "")
        .refused(1, &["/proc/llmtor", "--home"]);
}

#[test]
fn the_home_is_named_by_option_or_environment_and_may_be_deep() {
    let room = tempfile::tempdir().unwrap();
    let home = |arguments: &[&str]| {
        let ended = llmtor(room.path(), &[("LLMTOR_HOME", "from-environment")], arguments, "");
        ended.json()["home"].as_str().unwrap().to_owned()
    };
    assert_eq!(home(&["status", "--json"]), "from-environment");
    assert_eq!(home(&["--home", "from-option", "status", "--json"]), "from-option");

    let deep = format!("{}/{}", "d".repeat(120), "e".repeat(120));
    let backend = Backend::start(0);
    let init = ["init", "--home", &deep, "--backend", &backend.url, "--keys", "keys.json"];
    succeed(backend.room(), &init, "");
    let mut daemon = crate::support::program::Program::start(
        backend.room(),
        &["serve", "--home", &deep, "--listen", "127.0.0.1:0", "--json"],
    );
    daemon.ready();
    let status = succeed(backend.room(), &["status", "--json", "--home", &deep], "").json();
    assert!(status["daemon"]["pid"].is_u64(), "{status}");
    assert!(daemon.stop().success());
}

#[test]
fn a_daemon_on_localhost_has_both_addresses_and_names_one() {
    let backend = Backend::start(0);
    backend.init(None);
    let mut daemon = crate::support::program::Program::start(
        backend.room(),
        &["serve", "--home", "client", "--listen", "localhost:0", "--json"],
    );
    let base_url = daemon.ready()["base_url"].as_str().unwrap().to_owned();
    // An address, so that no client asks a resolver; and both are served.
    let port: u16 =
        base_url.trim_end_matches("/v1").strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    for taken in ["127.0.0.1", "[::1]"] {
        let bound = TcpListener::bind(format!("{taken}:{port}"));
        assert!(bound.is_err() || taken == "[::1]" && TcpListener::bind("[::1]:0").is_err(), "{taken}");
    }
    let env = succeed(backend.room(), &["env", "--json", "--home", "client"], "").json();
    assert_eq!(env["base_url"], base_url.as_str());
    assert!(daemon.stop().success());
}
