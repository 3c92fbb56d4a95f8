//! Whole vaults: sealed, restored, taken over; and what cannot be restored changes nothing.

use std::path::Path;
use std::time::Duration;

use age::secrecy::ExposeSecret as _;
use age::x25519;

use super::bench::{Backend, Daemon, Ended, MODEL, chat, hello, llmtor, succeed};
use crate::support::program::{self, Program};

const TAKE_OVER: &str = "No other machine uses these tokens any more.";

/// Writes `key.txt`; the recipient that belongs to it.
fn identity(room: &Path) -> String {
    let identity = x25519::Identity::generate();
    std::fs::write(room.join("key.txt"), identity.to_string().expose_secret()).unwrap();
    identity.to_public().to_string()
}

fn restore(room: &Path, home: &str, more: &[&str], input: &str) -> Ended {
    let restore = ["restore", "--identity", "key.txt", "--json", "--home", home];
    llmtor(room, &[], &[&restore[..], more].concat(), input)
}

fn serve(backend: &Backend, home: &str) -> Daemon {
    let mut program =
        Program::start(backend.room(), &["serve", "--home", home, "--listen", "127.0.0.1:0", "--json"]);
    let ready = program.ready();
    let text = |key: &str| ready[key].as_str().unwrap().to_owned();
    Daemon { base_url: text("base_url"), api_key: text("api_key"), program }
}

fn names(room: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(room).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names.retain(|name| name != "tmp");
    names
}

#[test]
fn a_vault_moves_to_another_home_and_only_one_of_the_two_spends() {
    let backend = Backend::start(9);
    let room = backend.room();
    backend.init(None);
    backend.stock_up(4);
    let source = backend.serve();
    assert_eq!(chat(&source.base_url, &source.api_key, &hello(false)).status, 200);
    let recipient = identity(room);
    // Made by the daemon, of a vault that is in use.
    succeed(room, &["backup", "vault.age", "--recipient", &recipient, "--home", "client"], "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(room.join("vault.age")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    let restored = restore(room, "moved", &["vault.age"], "").json();
    assert_eq!(restored["custody"], "restored", "{restored}");
    // Whoever knows the recipient may have made it, so it says what it would have its owner use.
    assert!(
        restored["backend"]["anonymous_url"].as_str().is_some_and(|url| url.starts_with(&backend.url)),
        "{restored}"
    );
    let keys = restored["backend"]["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["name"] == MODEL), "{restored}");
    let looked = ["restore", "vault.age", "--identity", "key.txt", "--home", "looked"];
    let looked = succeed(room, &looked, "").all();
    for words in
        [backend.url.as_str(), keys[0]["fingerprint"].as_str().unwrap(), "nothing proves who made this"]
    {
        assert!(looked.contains(words), "no `{words}` in: {looked}");
    }
    std::fs::remove_dir_all(room.join("looked")).unwrap();
    let status = succeed(room, &["status", "--json", "--home", "moved"], "").json();
    let state = (&status["custody"], &status["logged_in"], &status["models"][MODEL]["available"]);
    assert_eq!(state, (&"restored".into(), &false.into(), &3.into()), "{status}");
    for command in ["status", "tokens"] {
        let said = succeed(room, &[command, "--home", "moved"], "").stdout;
        assert!(
            said.contains("PAUSED") && said.contains("`llmtor restore --take-over --home moved`"),
            "{said}"
        );
        assert!(said.contains("no top-up by itself while the vault is paused"), "{said}");
    }
    let daemon = serve(&backend, "moved");
    let refused = chat(&daemon.base_url, &daemon.api_key, &hello(false));
    assert_eq!(refused.status, 403, "{}", refused.body);
    for words in ["vault_paused", "llmtor restore --take-over"] {
        assert!(refused.body.contains(words), "{}", refused.body);
    }

    // Not while the other one runs, not for another sentence; through the daemon, as any operation.
    let take_over =
        |typed: &str| llmtor(room, &[], &["restore", "--take-over", "--json", "--home", "moved"], typed);
    take_over(TAKE_OVER).refused_json("busy");
    drop(source);
    take_over("yes").refused_json("usage");
    let taken = take_over(TAKE_OVER).json();
    assert!(taken["taken_over"]["retired"].as_str().is_some_and(|home| home.ends_with("client")), "{taken}");
    take_over(TAKE_OVER).refused_json("usage");

    let until = taken["taken_over"]["resting_until"].as_str().unwrap();
    for command in ["status", "tokens"] {
        let said = succeed(room, &[command, "--home", "moved"], "").stdout;
        assert!(said.contains("RESTING") && said.contains(until), "{said}");
    }

    // The tokens rest for some minutes; fresh ones, of this vault alone, need not.
    let status = succeed(room, &["status", "--json", "--home", "moved"], "").json();
    let stock = &status["models"][MODEL];
    assert_eq!((&stock["available"], &stock["maturing"]), (&0.into(), &3.into()), "{status}");
    succeed(room, &["login", "--session-stdin", "--home", "moved"], &backend.session);
    succeed(room, &["tokens", "mint", "--model", MODEL, "--count", "1", "--now", "--home", "moved"], "");
    assert_eq!(chat(&daemon.base_url, &daemon.api_key, &hello(false)).status, 200);

    // The old one is told, by every way there is.
    let old = backend.serve();
    let refused = chat(&old.base_url, &old.api_key, &hello(false));
    assert!(refused.status == 403 && refused.body.contains("retired"), "{}", refused.body);
    let doctor = llmtor(room, &[], &["doctor", "--json", "--home", "client"], "").json();
    let vault = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "vault").unwrap();
    assert_eq!(vault["verdict"], "problem", "{doctor}");
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "1", "--home", "client"];
    llmtor(room, &[], &mint, "").refused(1, &["retired"]);
}

/// Whoever knows a recipient can make such a file.
#[test]
fn a_stranger_s_backup_brings_no_setting_that_runs_a_program_or_ends_anonymity() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    succeed(room, &["tokens", "--home", "h"], "");
    let config = "privacy = \"strong\"\n[backend]\nidentity_url = \"https://api.example.org\"\n\
        [anonymous]\nisolation = \"shared\"\n[login]\nbrowser = \"/bin/sh\"\n\
        [tor.arti.bridges]\nenabled = true\nbridges = [\"obfs4 192.0.2.9:443 0123456789ABCDEF0123456789ABCDEF01234567\"]\n\
        [[tor.arti.bridges.transports]]\nprotocols = [\"obfs4\"]\npath = \"/bin/sh\"\nrun_on_startup = true\n";
    std::fs::write(room.join("h/config.toml"), config).unwrap();
    let recipient = identity(room);
    let made =
        succeed(room, &["backup", "evil.age", "--recipient", &recipient, "--home", "h", "--json"], "").json();

    let restored = ["restore", "evil.age", "--identity", "key.txt", "--home", "victim"];
    let said = succeed(room, &restored, "").all();
    for words in [
        "tor.arti = ",
        "login.browser = ",
        "anonymous.isolation = ",
        "/bin/sh",
        made["sha256"].as_str().unwrap(),
    ] {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    let taken = std::fs::read_to_string(room.join("victim/config.toml")).unwrap();
    assert!(taken.contains("strong") && taken.contains("api.example.org"), "{taken}");
    for setting in ["arti", "sh", "isolation"] {
        assert!(!taken.contains(setting), "{taken}");
    }
    // Only when asked to, and under a passphrase, which its maker knows.
    restore(room, "asked", &["evil.age", "--all-settings"], "").json();
    assert_eq!(std::fs::read_to_string(room.join("asked/config.toml")).unwrap(), config);
    let passphrase = "a long enough passphrase";
    succeed(room, &["backup", "own.age", "--passphrase-fd", "0", "--home", "h"], passphrase);
    succeed(room, &["restore", "own.age", "--passphrase-fd", "0", "--home", "own"], passphrase);
    assert_eq!(std::fs::read_to_string(room.join("own/config.toml")).unwrap(), config);
}

#[test]
fn a_backup_that_does_not_open_changes_nothing() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    succeed(room, &["tokens", "--home", "h"], "");
    let passphrase = "a long enough passphrase";
    let backup = ["backup", "vault.age", "--passphrase-fd", "0", "--home", "h"];
    llmtor(room, &[], &backup, "short").refused(2, &["at least 10 characters"]);
    succeed(room, &backup, passphrase);
    llmtor(room, &[], &backup, passphrase).refused(1, &["is there already", "--force"]);

    let sealed = std::fs::read(room.join("vault.age")).unwrap();
    let recipient = identity(room);
    succeed(room, &["backup", "key.age", "--recipient", &recipient, "--home", "h"], "");
    let by_key = std::fs::read(room.join("key.age")).unwrap();
    std::fs::write(room.join("cut.age"), &by_key[..by_key.len() / 2]).unwrap();
    std::fs::write(room.join("text.age"), "just some text").unwrap();
    let newer = age::encrypt(&recipient.parse::<x25519::Recipient>().unwrap(), b"{\"format\":99}\n").unwrap();
    std::fs::write(room.join("newer.age"), newer).unwrap();
    let before = names(room);

    let by_passphrase = |file: &str, typed: &str| {
        llmtor(room, &[], &["restore", file, "--passphrase-fd", "0", "--home", "new"], typed)
    };
    by_passphrase("vault.age", "another long passphrase").refused(1, &["passphrase is wrong"]);
    by_passphrase("key.age", passphrase).refused(2, &["--identity"]);
    by_passphrase("text.age", passphrase).refused(1, &["not an age file"]);
    by_passphrase("no-such.age", passphrase).refused(2, &["no-such.age"]);
    restore(room, "new", &["vault.age"], "").refused_json("usage");
    restore(room, "new", &["cut.age"], "").refused_json("failed");
    let newer = restore(room, "new", &["newer.age"], "");
    assert!(newer.stdout.contains("install a newer llmtor"), "{}", newer.all());
    // A home that is in use is never restored over.
    let vault = std::fs::read(room.join("h/vault.db")).unwrap();
    restore(room, "h", &["key.age"], "").refused_json("failed");
    assert_eq!(std::fs::read(room.join("h/vault.db")).unwrap(), vault);
    assert_eq!(names(room), before);
    llmtor(room, &[], &["restore", "--home", "h"], "").refused(2, &["FILE"]);

    // And it opens where nothing is wrong, with both on standard input, one line each.
    assert!(sealed.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    std::fs::remove_dir_all(room.join("h")).unwrap();
    let restored = ["restore", "vault.age", "--passphrase-fd", "0", "--take-over", "--home", "new", "--json"];
    let restored = succeed(room, &restored, &format!("{passphrase}\n{TAKE_OVER}\n")).json();
    assert_eq!((&restored["custody"], &restored["taken_over"]["generation"]), (&"ours".into(), &1.into()));
}

#[test]
fn a_backup_takes_the_place_of_no_home_s_file_and_is_made_of_a_home_that_is_there() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    succeed(room, &["tokens", "--home", "h"], "");
    succeed(room, &["tokens", "--home", "other"], "");
    let recipient = identity(room);
    let before = names(room);
    for (home, file) in [("h", "h/vault.db"), ("other", "h/vault.db"), ("h", "h/new.age")] {
        let backup = ["backup", "--force", "--retire", "--recipient", &recipient, file, "--home", home];
        llmtor(room, &[], &backup, "").refused(2, &["is inside the home", "elsewhere"]);
        let abuse = ["abuse", "backup", "--force", file, "--passphrase-fd", "0", "--home", home];
        llmtor(room, &[], &abuse, "a long enough passphrase").refused(2, &["is inside the home"]);
    }
    assert!(std::fs::read(room.join("h/vault.db")).unwrap().starts_with(b"SQLite format 3\0"));
    assert!(!room.join("h/new.age").exists());

    for command in [
        &["backup", "vault.age", "--recipient", &recipient][..],
        &["abuse", "backup", "vault.age", "--passphrase-fd", "0"],
        &["restore", "--take-over"],
    ] {
        let ended = llmtor(room, &[], &[command, &["--home", "typo"]].concat(), "a long enough passphrase");
        ended.refused(2, &["there is no home in", "typo", "--home DIR"]);
    }
    assert_eq!(names(room), before);
}

#[test]
fn a_stranger_s_home_in_the_source_s_place_does_not_stand_in_the_way() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    succeed(room, &["tokens", "--home", "h"], "");
    let recipient = identity(room);
    succeed(room, &["backup", "vault.age", "--recipient", &recipient, "--home", "h"], "");
    std::fs::remove_dir_all(room.join("h")).unwrap();
    // Another home at the same path, as on another machine, and in use.
    succeed(room, &["tokens", "--home", "h"], "");
    let held = std::fs::File::open(room.join("h/lock")).unwrap();
    held.try_lock().unwrap();
    restore(room, "moved", &["vault.age"], "").json();
    let take_over = ["restore", "--take-over", "--home", "moved", "--json"];
    let taken = succeed(room, &take_over, TAKE_OVER).json();
    assert_eq!(taken["taken_over"]["retired"], serde_json::Value::Null, "{taken}");
}

#[test]
fn a_retired_vault_says_so_and_comes_back_only_after_the_sentence() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    succeed(room, &["tokens", "--home", "h"], "");
    let recipient = identity(room);
    let retire = |file: &str| {
        let backup = ["backup", "--retire", "--recipient", &recipient, file, "--home", "h", "--json"];
        llmtor(room, &[], &backup, "")
    };
    let custody = || succeed(room, &["status", "--json", "--home", "h"], "").json()["custody"].clone();
    // What cannot be written retires nothing.
    retire("no/such/directory/vault.age").refused_json("failed");
    assert_eq!(custody(), "ours");
    assert_eq!(retire("vault.age").json()["custody"], "retired");
    assert_eq!(custody(), "retired");
    retire("again.age").refused_json("failed");
    let take_over = |typed| llmtor(room, &[], &["restore", "--take-over", "--home", "h"], typed);
    // Neither of two that came of one backup may say this truly, which "the old machine does not" would let both.
    take_over("the copy does not use these tokens any more")
        .refused(2, &["no other machine uses these tokens any more"]);
    assert_eq!(take_over(TAKE_OVER).code, Some(0));
    assert_eq!(custody(), "ours");
}

#[cfg(unix)]
#[test]
fn an_interrupted_backup_retires_no_vault_without_a_copy() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    std::fs::write(room.join("passphrase.txt"), "a long enough passphrase\n").unwrap();
    // From before the vault is open to well within the second that the passphrase takes.
    for pause in [5, 100, 250, 400] {
        let (home, file) = (format!("h{pause}"), format!("{pause}.age"));
        succeed(room, &["tokens", "--home", &home], "");
        let mut child = program::command(room)
            .args(["backup", "--retire", &file, "--passphrase-fd", "0", "--home", &home])
            .stdin(std::fs::File::open(room.join("passphrase.txt")).unwrap())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        let pid = child.id().to_string();
        // It may be at its end already.
        let _ = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
        child.wait().unwrap();
        let status = succeed(room, &["status", "--json", "--home", &home], "").json();
        let expected = if room.join(&file).exists() { "retired" } else { "ours" };
        assert_eq!(status["custody"], expected, "after {pause} ms");
    }
}

#[test]
fn a_killed_restore_leaves_no_home_or_a_whole_one() {
    let room = tempfile::tempdir().unwrap();
    let room = room.path();
    succeed(room, &["tokens", "--home", "h"], "");
    let recipient = identity(room);
    succeed(room, &["backup", "vault.age", "--recipient", &recipient, "--home", "h"], "");
    let (mut whole, mut none) = (0, 0);
    for step in 0..14u64 {
        let mut child = program::command(room)
            .args(["restore", "vault.age", "--identity", "key.txt", "--home", "new"])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(6 * step));
        // SIGKILL, or too late.
        let _ = child.kill();
        child.wait().unwrap();
        if room.join("new").exists() {
            let status = succeed(room, &["status", "--json", "--home", "new"], "").json();
            assert_eq!(status["custody"], "restored");
            std::fs::remove_dir_all(room.join("new")).unwrap();
            whole += 1;
        } else {
            none += 1;
        }
    }
    assert!(none > 0, "{whole} whole, {none} none");
    // Whatever they left beside it is no obstacle, and goes.
    assert_eq!(restore(room, "new", &["vault.age"], "").json()["custody"], "restored");
    assert_eq!(names(room), ["h", "key.txt", "new", "vault.age"]);
}
