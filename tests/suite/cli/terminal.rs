//! What is asked at a terminal, and what becomes of the terminal.

use std::path::Path;

use serde_json::{Value, json};

use super::bench::{Backend, llmtor, succeed};
use crate::support::{program, sdk};

/// `llmtor` at a terminal with somebody who does as in `steps`; nothing where that cannot be played.
fn at_a_terminal(room: &Path, arguments: &[&str], steps: &Value) -> Option<Value> {
    let mut player = sdk::python("tests/cross/terminal.py")?;
    let order = json!({
        "program": program::SHIPPED,
        "arguments": arguments,
        "environment": { "PATH": std::env::var("PATH").unwrap(), "HOME": room },
        "directory": room,
        "steps": steps,
    });
    let output = program::finish(&mut player, &order.to_string());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_passphrase_that_is_broken_off_leaves_a_terminal_that_shows_what_is_typed() {
    let room = tempfile::tempdir().unwrap();
    std::fs::create_dir(room.path().join("h")).unwrap();
    std::fs::write(room.path().join("h/config.toml"), "").unwrap();
    let backup = ["backup", "vault.age", "--home", "h"];
    let ways = [
        (json!({ "expect": "Passphrase", "unseen": true, "type": "half a pass\u{3}" }), 130),
        (json!({ "expect": "Passphrase", "unseen": true, "signal": 2 }), 130),
        (json!({ "expect": "Passphrase", "unseen": true, "signal": 15 }), 143),
    ];
    for (step, exit) in ways {
        let Some(ended) = at_a_terminal(room.path(), &backup, &json!([step])) else { return };
        assert_eq!((&ended["exit"], &ended["shows"]), (&json!(exit), &json!(true)), "{step}: {ended}");
        assert!(!ended["said"].as_str().unwrap().contains("half a pass"), "{ended}");
    }
    assert!(!room.path().join("vault.age").exists());
}

#[test]
fn another_account_is_taken_by_whoever_says_so_and_by_nobody_else() {
    let backend = Backend::start(5);
    let room = backend.room();
    backend.init(None);
    let login = ["login", "--session-stdin", "--home", "client"];
    let add = |name| {
        let add = ["--json", "backend", "account", "add", name, "--home", "backend"];
        succeed(room, &add, "").json()["session"].as_str().unwrap().to_owned()
    };
    let gina = add("gina");
    succeed(room, &login, &backend.session);
    succeed(room, &["logout", "--home", "client"], "");

    llmtor(room, &[], &login, &gina)
        .refused(1, &["another account", "abuse tokens", "--another-account", "--home"]);
    llmtor(room, &[], &[&["--json"], &login[..]].concat(), &gina).refused_json("other_account");
    assert_eq!(succeed(room, &["--json", "status", "--home", "client"], "").json()["session"], "none");

    let paste = ["login", "--paste", "--home", "client"];
    let answered = |answer: &str| {
        let pasted = json!({ "expect": "not shown", "unseen": true, "type": format!("{gina}\n") });
        let steps = json!([pasted, { "expect": "all the same? [y/N]", "type": answer }]);
        at_a_terminal(room, &paste, &steps)
    };
    if let (Some(no), Some(left), Some(yes)) = (answered("\n"), answered("\u{3}"), answered("y\n")) {
        assert_eq!((&no["exit"], &left["exit"]), (&json!(1), &json!(130)), "{no} {left}");
        assert!(no["said"].as_str().unwrap().contains("nothing was changed"), "{no}");
        assert_eq!(yes["exit"], 0, "{yes}");
        assert!(yes["said"].as_str().unwrap().contains("logged in as gina"), "{yes}");
    } else {
        succeed(room, &[&login[..], &["--another-account"]].concat(), &gina);
    }
    // Hers from now on, and somebody else is another account.
    let again = succeed(room, &login, &gina).stdout;
    assert!(again.contains("logged in as gina") && !again.contains("another account"), "{again}");
    let hana = add("hana");
    llmtor(room, &[], &login, &hana).refused(1, &["another account"]);
    let taken = succeed(room, &[&login[..], &["--another-account"]].concat(), &hana).stdout;
    assert!(taken.contains("logged in as hana") && taken.contains("obtained as another account"), "{taken}");
}

#[test]
fn a_login_with_another_backend_s_keys_says_so_and_force_takes_another_backend() {
    let backend = Backend::start(5);
    let room = backend.room();
    // The names are right and the keys are not: each is another one's.
    let keys: Value = serde_json::from_slice(&std::fs::read(room.join("keys.json")).unwrap()).unwrap();
    let pems: Vec<&Value> = keys.as_object().unwrap().values().collect();
    let names = keys.as_object().unwrap().keys();
    let wrong: serde_json::Map<_, _> =
        names.zip(pems.iter().cycle().skip(1)).map(|(name, pem)| (name.clone(), (*pem).clone())).collect();
    std::fs::write(room.join("wrong.json"), Value::Object(wrong).to_string()).unwrap();
    let elsewhere = ["init", "--home", "client", "--backend", "http://127.0.0.1:1", "--keys", "wrong.json"];
    succeed(room, &elsewhere, "");
    std::fs::write(room.join("client/session.sealed"), "another backend's").unwrap();

    let login = ["login", "--session-stdin", "--home", "client", "--backend", &backend.url, "--keys"];
    let login_with = |more: &[&str]| llmtor(room, &[], &[&login[..], more].concat(), &backend.session);
    login_with(&["wrong.json"]).refused(2, &["names another backend", "--force"]);
    let forced = login_with(&["wrong.json", "--force", "--first-tokens", "3"]);
    assert_eq!(forced.code, Some(0), "{}", forced.all());
    for words in [
        "logged in as alice",
        "keys file was not this backend's",
        "llmtor keys list",
        "next: what the note says",
    ] {
        assert!(forced.stdout.contains(words), "{words}: {}", forced.all());
    }
    let account = succeed(room, &["--json", "account", "--home", "client"], "").json();
    assert_eq!(account["used"].as_object().unwrap().len(), 0, "no credit was lost: {account}");

    login_with(&["keys.json"]).refused(1, &["--force"]);
    let right = login_with(&["keys.json", "--force"]);
    assert_eq!(right.code, Some(0), "{}", right.all());
    assert!(right.stdout.contains("abuse tokens fetched: permanent, transient"), "{}", right.all());
    // Of a model without credits nothing comes by itself; and it is said before a daemon ever ran.
    let other = right
        .stdout
        .lines()
        .find(|line| line.starts_with("gpt-4.1:"))
        .unwrap_or_else(|| panic!("{}", right.all()));
    assert!(other.contains("`llmtor buy gpt-4.1`") && !other.contains("by itself"), "{other}");
    let status = succeed(room, &["status", "--home", "client"], "").stdout;
    assert!(status.contains("`llmtor buy gpt-4.1`"), "{status}");
}
