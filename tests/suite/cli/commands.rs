//! The commands, as the README has them, against `llmtor backend serve`.

use super::bench::{Backend, MODEL, chat, hello, llmtor, succeed};

#[test]
fn a_user_sets_up_and_pays_with_and_without_a_daemon_running() {
    let mut backend = Backend::start(20);
    let room = backend.room.path().to_owned();
    let run = |arguments: &[&str]| succeed(&room, arguments, "");
    let says =
        |code, arguments: &[&str], words: &[&str]| llmtor(&room, &[], arguments, "").refused(code, words);

    // In the wrong order, every command says which one comes first.
    says(2, &["serve", "--home", "client"], &["llmtor init"]);
    says(2, &["account", "--home", "client"], &["llmtor init"]);
    backend.init(None);
    says(4, &["account", "--home", "client"], &["llmtor login"]);
    let wrong = llmtor(&room, &[], &["login", "--session-stdin", "--home", "client"], "not a session");
    wrong.refused(2, &["sessionID"]);
    let unknown = "01234567-89ab-4def-8123-456789abcdef";
    llmtor(&room, &[], &["login", "--session-stdin", "--home", "client"], unknown).refused(4, &["session"]);

    backend.stock_up(3);
    assert_eq!(backend.stock()["available"], 3);
    let account = run(&["--home", "client", "--json", "account"]).json();
    assert_eq!((&account["credits"][MODEL], &account["used"][MODEL]), (&17.into(), &3.into()));
    assert!(run(&["keys", "list", "--home", "client"]).stdout.contains(MODEL));
    assert!(run(&["tokens", "--home", "client"]).stdout.contains("permanent held"));

    // The same with a daemon that holds the home.
    let mut daemon = backend.serve();
    let reply = chat(&daemon.base_url, &daemon.api_key, &hello(false));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!((&backend.stock()["available"], &backend.stock()["spent"]), (&2.into(), &1.into()));
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "5", "--home", "client", "--json"];
    let minted = run(&mint).json();
    assert_eq!((&minted["minted"], &minted["maturing"]), (&5.into(), &5.into()), "without --now they mature");
    assert_eq!(run(&["abuse", "setup", "--home", "client", "--json"]).json()["permanent"], true);
    assert_eq!(run(&["account", "--home", "client", "--json"]).json()["credits"][MODEL], 12);
    let pid = run(&["status", "--home", "client", "--json"]).json()["daemon"]["pid"].clone();
    says(3, &["serve", "--home", "client", "--listen", "127.0.0.1:0"], &[&format!("pid {pid}"), "--home"]);
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "50", "--now", "--home", "client"];
    says(6, &mint, &["minted 12 of 50", "no credit left"]);
    let shell = run(&["env", "--shell", "fish", "--home", "client"]).stdout;
    assert!(shell.contains(&daemon.base_url) && shell.contains("set -gx OPENAI_API_KEY"), "{shell}");
    run(&["logout", "--home", "client"]);
    says(4, &["account", "--home", "client"], &["llmtor login"]);
    // Tokens in stock need no account.
    assert_eq!(chat(&daemon.base_url, &daemon.api_key, &hello(true)).status, 200);
    assert!(daemon.program.stop().success());

    let stopped = run(&["status", "--home", "client", "--json"]).json();
    assert_eq!((&stopped["daemon"], &stopped["logged_in"]), (&serde_json::Value::Null, &false.into()));
    assert!(backend.program.stop().success());
    llmtor(&room, &[], &["login", "--session-stdin", "--home", "client"], &backend.session)
        .refused(5, &["cannot be reached"]);
}

#[test]
fn a_changed_key_is_refused_without_replace_and_a_running_daemon_learns_new_ones() {
    let backend = Backend::start(1);
    let room = backend.room();
    let other = Backend::start(1);
    backend.init(None);
    let daemon = backend.serve();
    let theirs = other.room().join("keys.json");
    let import = ["keys", "import", theirs.to_str().unwrap(), "--home", "client"];
    llmtor(room, &[], &import, "").refused(1, &["pinned:", "new:", "--replace"]);
    let replaced = succeed(room, &[&import[..], &["--replace", "--json"]].concat(), "").json();
    assert_eq!(replaced["replaced"].as_array().unwrap().len(), 4, "{replaced}");

    // Under another name it is a new model, and the endpoint offers it at once.
    let keys: serde_json::Value = serde_json::from_slice(&std::fs::read(&theirs).unwrap()).unwrap();
    let body = hello(false).replace(MODEL, "gpt-5-mini");
    let ask = || chat(&daemon.base_url, &daemon.api_key, &body);
    assert_eq!(ask().status, 404);
    let alias = serde_json::json!({ "gpt-5-mini": keys[MODEL] }).to_string();
    let import = ["keys", "import", "-", "--home", "client", "--json"];
    let imported = succeed(room, &import, &alias).json();
    assert_eq!(imported["added"][0]["name"], "gpt-5-mini", "{imported}");
    // Known now, and not payable: this home has never been set up.
    let reply = ask();
    assert_eq!(reply.status, 403, "{}", reply.body);
    assert!(reply.body.contains("llmtor abuse setup"), "{}", reply.body);

    std::fs::write(room.join("bad.json"), "{\"gpt-4.1\": \"not a key\"}").unwrap();
    llmtor(room, &[], &["keys", "import", "bad.json", "--home", "client"], "")
        .refused(2, &["bad.json", "gpt-4.1"]);
    llmtor(room, &[], &["keys", "import", "none.json", "--home", "client"], "").refused(2, &["none.json"]);
}

#[test]
fn init_refuses_to_overwrite_another_backend_without_force() {
    let backend = Backend::start(0);
    let room = backend.room();
    backend.init(None);
    backend.init(None);
    let other = ["init", "--home", "client", "--backend", "http://127.0.0.1:1", "--keys", "keys.json"];
    llmtor(room, &[], &other, "").refused(2, &["another backend", "--force"]);
    succeed(room, &[&other[..], &["--force"]].concat(), "");
    let config = std::fs::read_to_string(room.join("client/config.toml")).unwrap();
    assert!(config.contains("http://127.0.0.1:1"), "{config}");

    for (url, words) in
        [("http://api.example.org", "https"), ("api.example.org", "URL"), ("ftp://x", "https")]
    {
        let init = ["init", "--home", "fresh", "--backend", url, "--keys", "keys.json"];
        llmtor(room, &[], &init, "").refused(2, &["--backend", words]);
    }
    let init = ["init", "--home", "fresh", "--backend", "https://x.example", "--keys", "missing.json"];
    llmtor(room, &[], &init, "").refused(2, &["missing.json"]);
    assert!(!room.join("fresh").exists(), "a refused init leaves no home behind");
}

#[test]
fn a_backend_elsewhere_is_refused_rather_than_reached_directly() {
    let backend = Backend::start(0);
    let room = backend.room();
    backend.init(Some("http://192.0.2.1:80"));
    let serve = ["serve", "--home", "client", "--listen", "127.0.0.1:0"];
    llmtor(room, &[], &serve, "").refused(2, &["only for onion services", "use https"]);
    let loopback = [&serve[..], &["--transport", "loopback"]].concat();
    llmtor(room, &[], &loopback, "").refused(2, &["only this machine"]);
}
