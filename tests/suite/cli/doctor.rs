//! `llmtor doctor`: a home in order, and each thing that can be wrong with it.

use std::fs;
use std::time::{Duration, Instant};

use llmtor::datadir::Home;
use serde_json::Value;

use super::bench::{Backend, Ended, MODEL, llmtor, succeed};
use crate::support::program::Program;
use crate::support::tornet::NOWHERE;

fn doctor(backend: &Backend, more: &[&str]) -> Ended {
    // Whoever listens on the usual port of this machine is not looked for.
    let fixed = ["--home", "client", "--json", "doctor", "--set", "server.listen=localhost:0"];
    llmtor(backend.room(), &[], &[&fixed, more].concat(), "")
}

/// Name and verdict of each check that is not as it should be.
fn findings(report: &Value) -> Vec<(&str, &str)> {
    let checks = report["checks"].as_array().unwrap();
    let pairs =
        checks.iter().map(|check| (check["name"].as_str().unwrap(), check["verdict"].as_str().unwrap()));
    pairs.filter(|(_, verdict)| *verdict != "ok").collect()
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

/// Asserts the exit code, that `name` is a problem with advice or an instruction, and that its detail has `words`.
#[track_caller]
fn assert_problem(ended: &Ended, code: i32, name: &str, words: &str) {
    assert_eq!(ended.code, Some(code), "{}", ended.all());
    let report = ended.json();
    let found = check(&report, name);
    assert_eq!(found["verdict"], "problem", "{}", ended.all());
    assert!(found["detail"].as_str().unwrap().contains(words), "{found}");
}

#[test]
fn a_fresh_home_is_told_to_begin_with_a_backend() {
    let room = tempfile::tempdir().unwrap();
    let ended = llmtor(room.path(), &[], &["--home", "h", "--json", "doctor"], "");
    assert_problem(&ended, 2, "settings", "no backend");
    let report = ended.json();
    assert!(check(&report, "settings")["advice"].as_str().unwrap().contains("llmtor init"));
    assert_eq!(check(&report, "keys")["verdict"], "problem");
    assert_eq!(check(&report, "home")["verdict"], "ok");
    let text = llmtor(room.path(), &[], &["--home", "h", "doctor"], "");
    assert_eq!(text.code, Some(2));
    for words in ["PROBLEM  settings", "→ run `llmtor init", "begin with the first"] {
        assert!(text.stdout.contains(words), "{}", text.all());
    }
}

#[test]
fn a_home_in_order_is_found_so_with_and_without_a_daemon_and_nothing_is_spent_or_shown() {
    let backend = Backend::start(2);
    backend.init(None);
    backend.stock_up(2);
    let before = backend.stock();
    let alone = doctor(&backend, &[]);
    assert_eq!(alone.code, Some(0), "{}", alone.all());
    assert_eq!(findings(&alone.json()), [("tor", "skipped")]);
    assert_eq!(alone.json()["daemon"], Value::Null);

    let daemon = backend.serve();
    let asked = doctor(&backend, &[]);
    assert_eq!(asked.code, Some(0), "{}", asked.all());
    assert_eq!(findings(&asked.json()), [("tor", "skipped")]);
    assert!(asked.json()["daemon"].as_u64() > Some(0));
    assert!(check(&asked.json(), "home")["detail"].as_str().unwrap().contains("a daemon works in it"));
    assert_eq!(backend.stock(), before);
    for said in [alone.all(), asked.all()] {
        assert!(!said.contains(&backend.session) && !said.contains(&daemon.api_key), "a secret was shown");
    }
}

#[test]
fn what_is_missing_is_a_warning_while_calls_go_through_and_a_problem_when_they_cannot() {
    let backend = Backend::start(2);
    backend.init(None);
    let ended = doctor(&backend, &[]);
    assert_problem(&ended, 4, "session", "not signed in");
    let found = [("vault", "warning"), ("abuse", "warning"), ("session", "problem"), ("tor", "skipped")];
    assert_eq!(findings(&ended.json()), found);

    // A backend that asks for abuse tokens only after the sign-in, which would have fetched them.
    let pinned = backend.room().join("client/keys.json");
    let keys = fs::read(&pinned).unwrap();
    let mut without: Value = serde_json::from_slice(&keys).unwrap();
    without.as_object_mut().unwrap().retain(|name, _| !name.starts_with("abuse-"));
    fs::write(&pinned, without.to_string()).unwrap();
    succeed(backend.room(), &["login", "--session-stdin", "--home", "client"], &backend.session);
    assert_problem(&doctor(&backend, &[]), 1, "vault", "a call would find no token");
    fs::write(&pinned, keys).unwrap();
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "1", "--now", "--home", "client"];
    succeed(backend.room(), &mint, "");
    let ended = doctor(&backend, &[]);
    assert_problem(&ended, 1, "abuse", "every call is refused");
    let report = ended.json();
    assert_eq!(findings(&report), [("abuse", "problem"), ("tor", "skipped")]);
    assert!(check(&report, "abuse")["advice"].as_str().unwrap().contains("llmtor abuse setup"));

    succeed(backend.room(), &["abuse", "setup", "--home", "client"], "");
    succeed(backend.room(), &["logout", "--home", "client"], "");
    let ended = doctor(&backend, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.all());
    assert_eq!(findings(&ended.json()), [("session", "warning"), ("tor", "skipped")]);
}

#[test]
fn each_broken_thing_is_named_and_has_its_exit_code() {
    let mut backend = Backend::start(1);
    backend.init(None);
    backend.stock_up(1);
    let home = backend.room().join("client");
    let write = |name: &str, text: &str| fs::write(home.join(name), text).unwrap();
    let with = |name: &str, text: &str, look: &dyn Fn(&Ended)| {
        let kept = fs::read(home.join(name)).unwrap();
        write(name, text);
        look(&doctor(&backend, &[]));
        fs::write(home.join(name), kept).unwrap();
    };
    with("config.toml", "[anonymus]\n", &|ended| assert_problem(ended, 2, "settings", "anonymus"));
    with("keys.json", "{", &|ended| assert_problem(ended, 1, "keys", "keys.json in the home is damaged"));
    with("keys.json", "{}", &|ended| assert_problem(ended, 2, "keys", "no model's key is pinned"));
    with("vault.db", "this is no vault, and long enough for a header", &|ended| {
        assert_problem(ended, 1, "vault", "");
        assert_eq!(check(&ended.json(), "backend")["verdict"], "skipped");
    });
    with("session.sealed", "x", &|ended| assert_problem(ended, 4, "session", "cannot be read"));
    with("master.key", &"0".repeat(64), &|ended| assert_problem(ended, 1, "vault", "master key"));

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |mode| fs::set_permissions(home.join("vault.db"), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let report = doctor(&backend, &[]).json();
        assert_eq!(check(&report, "home")["verdict"], "warning");
        assert!(check(&report, "home")["detail"].as_str().unwrap().contains("could be read by others"));
        assert_eq!(check(&doctor(&backend, &[]).json(), "home")["verdict"], "ok");
    }

    let held = Home::open(&home).unwrap().lock().unwrap();
    assert_problem(&doctor(&backend, &[]), 3, "home", "is using this home");
    drop(held);

    fs::write(backend.room().join("nowhere.toml"), NOWHERE).unwrap();
    let nowhere = format!("tor.arti_config={}", backend.room().join("nowhere.toml").display());
    let onion = format!("backend.anonymous_url=http://{}.onion", "a".repeat(56));
    let through_tor = ["--set", &onion, "--set", "tor.bootstrap_seconds=2"];
    let ended = doctor(&backend, &[&through_tor[..], &["--set", &nowhere]].concat());
    assert_problem(&ended, 5, "tor", "Tor is not ready");
    assert_eq!(check(&ended.json(), "backend")["verdict"], "skipped");
    let ended = doctor(&backend, &[&through_tor[..], &["--set", "tor.arti.path_rulez.x=1"]].concat());
    assert_problem(&ended, 2, "tor", "path_rulez");
    let plain = ["--set", "backend.anonymous_url=http://backend.example"];
    assert_problem(&doctor(&backend, &plain), 2, "backend", "plain http");
    let socks = ["--set", &onion, "--set", "anonymous.transport=socks5h://127.0.0.1:1"];
    assert_problem(&doctor(&backend, &socks), 5, "backend", "no SOCKS proxy listens there");

    assert!(backend.program.stop().success());
    assert_problem(&doctor(&backend, &[]), 5, "backend", "refused");
}

/// The lines that are there while Tor is still waited for, which goes on for minutes.
fn said_while_waiting(backend: &Backend, settings: &[&str]) -> String {
    let mut doctor = Program::start(backend.room(), &[&["doctor", "--home", "client"], settings].concat());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = String::from_utf8(doctor.stdout()).unwrap();
        assert!(!doctor.ended() && Instant::now() < deadline, "{said}");
        if said.contains("session") {
            doctor.kill();
            return said;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_known_is_said_while_tor_is_waited_for() {
    let backend = Backend::start(1);
    backend.init(None);
    fs::write(backend.room().join("nowhere.toml"), NOWHERE).unwrap();
    let nowhere = format!("tor.arti_config={}", backend.room().join("nowhere.toml").display());
    let onion = format!("backend.anonymous_url=http://{}.onion", "a".repeat(56));
    let listen = "server.listen=localhost:0";
    let settings =
        ["--set", &onion, "--set", &nowhere, "--set", "tor.bootstrap_seconds=300", "--set", listen];
    let names = |said: &str| {
        let lines = said.lines().filter(|line| !line.trim_start().starts_with('→'));
        lines.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let alone = names(&said_while_waiting(&backend, &settings));
    assert_eq!(alone, ["home", "settings", "endpoint", "keys", "vault", "abuse", "session"]);
    let daemon = [&["serve", "--home", "client", "--json"], &settings[..]].concat();
    let mut daemon = Program::start(backend.room(), &daemon);
    daemon.ready();
    let asked = names(&said_while_waiting(&backend, &settings));
    assert_eq!(asked, ["home", "settings", "keys", "vault", "abuse", "session"]);
}
