//! Abuse tokens: backed up and brought back, in a file and on the server, here and by an independent program.

use std::path::Path;

use llmtor::backup::{Passphrase, abuse};
use llmtor::secret::Secret;

use super::bench::{Backend, Ended, llmtor, succeed};
use crate::support::canary::Canary;
use crate::support::{program, sdk};

const PASSPHRASE: &str = "canary-passphrase of the abuse tokens";

fn backup(room: &Path, home: &str, place: &str) -> Ended {
    llmtor(room, &[], &["abuse", "backup", place, "--passphrase-fd", "0", "--home", home], PASSPHRASE)
}

fn restore(room: &Path, home: &str, more: &[&str], passphrase: &str) -> Ended {
    let restore = ["abuse", "restore", "--passphrase-fd", "0", "--json", "--home", home];
    llmtor(room, &[], &[&restore[..], more].concat(), passphrase)
}

/// As [`restore`], the passphrase on another descriptor than standard input, which a shell opens as in `line`.
fn by_descriptor(room: &Path, home: &str, file: &str, line: &str) -> serde_json::Value {
    std::fs::write(room.join("passphrase.txt"), format!("not this line\n{PASSPHRASE}\nnor this\n")).unwrap();
    let mut shell = std::process::Command::new("sh");
    program::confine(&mut shell, room);
    shell.env("WORDS", PASSPHRASE);
    let restore = ["abuse", "restore", file, "--passphrase-fd", "3", "--json", "--home", home];
    let output = program::finish(shell.args(["-c", line, program::SHIPPED]).args(restore), "");
    std::fs::remove_file(room.join("passphrase.txt")).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A second home for the same backend, without a session.
fn second_home(backend: &Backend, name: &str) {
    let init = ["init", "--home", name, "--backend", &backend.url, "--keys", "keys.json"];
    succeed(backend.room(), &init, "");
}

fn everything_under(path: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            everything_under(&path, found);
        } else if let Ok(content) = std::fs::read(&path) {
            found.push((path.display().to_string(), content));
        }
    }
}

#[test]
fn the_abuse_tokens_go_to_a_file_and_to_the_server_and_come_back() {
    let backend = Backend::start(0);
    let room = backend.room();
    backend.init(None);
    backup(room, "client", "tokens.llmtorbak").refused(1, &["nothing to back up", "llmtor abuse setup"]);
    succeed(room, &["login", "--session-stdin", "--home", "client"], &backend.session);
    succeed(room, &["abuse", "setup", "--home", "client"], "");
    let status = succeed(room, &["abuse", "status", "--json", "--home", "client"], "").json();
    assert_eq!((&status["permanent"], &status["transient"]), (&true.into(), &status["current"]));

    let none = restore(room, "client", &["--server"], PASSPHRASE);
    none.refused_json("failed");
    assert!(none.stdout.contains("llmtor abuse backup --server"), "{}", none.all());
    let short = ["abuse", "backup", "short", "--passphrase-fd", "0", "--home", "client"];
    llmtor(room, &[], &short, "too short").refused(2, &["at least 10 characters"]);
    assert!(!room.join("short").exists());
    let made = backup(room, "client", "tokens.llmtorbak");
    assert_eq!(made.code, Some(0), "{}", made.all());
    backup(room, "client", "tokens.llmtorbak").refused(1, &["is there already", "--force"]);
    assert_eq!(backup(room, "client", "--server").code, Some(0));
    backup(room, "client", "--server").refused(1, &["keeps a backup for this account already", "--force"]);
    let again = ["abuse", "backup", "--server", "--force", "--passphrase-fd", "0", "--home", "client"];
    assert_eq!(llmtor(room, &[], &again, PASSPHRASE).code, Some(0));

    // In another home, which holds nothing and is not signed in.
    second_home(&backend, "second");
    restore(room, "second", &["--server"], PASSPHRASE).refused_json("not_logged_in");
    restore(room, "second", &["tokens.llmtorbak"], "another passphrase").refused_json("failed");
    let restored = restore(room, "second", &["tokens.llmtorbak"], PASSPHRASE).json();
    assert_eq!((&restored["permanent"], &restored["transient"]), (&"restored".into(), &"restored".into()));
    // A file that was read on from, a here-document, a pipe; the descriptor itself, wherever it stands.
    for line in [
        "exec 3< passphrase.txt; read -r _ <&3; exec \"$0\" \"$@\"",
        "exec \"$0\" \"$@\" 3<<END\n$WORDS\nEND",
        "echo \"$WORDS\" | { exec 3<&0; exec \"$0\" \"$@\" < /dev/null; }",
    ] {
        let again = by_descriptor(room, "second", "tokens.llmtorbak", line);
        assert_eq!((&again["permanent"], &again["transient"]), (&"held".into(), &"held".into()), "{line}");
    }

    // After a rotation the backup's monthly token is another one than that in use.
    let rotated = succeed(room, &["abuse", "rotate", "--home", "client"], "").stdout;
    assert!(rotated.contains("the permanent token is the same as before"), "{rotated}");
    assert!(rotated.contains("they know now whose calls these are"), "what haste costs: {rotated}");
    let later = succeed(room, &["abuse", "rotate", "--later", "--home", "client"], "").stdout;
    assert!(later.contains("at a random moment within a day") && later.contains("does not run"), "{later}");
    let kept = restore(room, "client", &["--server"], PASSPHRASE).json();
    assert_eq!((&kept["permanent"], &kept["transient"]), (&"held".into(), &"other_kept".into()));
    let replaced = restore(room, "client", &["--server", "--replace"], PASSPHRASE).json();
    assert_eq!(replaced["transient"], "restored");

    // Neither token is anywhere in plain, nor is the passphrase.
    let text = std::fs::read_to_string(room.join("tokens.llmtorbak")).unwrap();
    let passphrase = Passphrase::new(Secret::new(PASSPHRASE.to_owned()));
    let tokens = abuse::open(&text, &passphrase).ok().unwrap();
    let canaries = [
        Canary::new("permanent token", tokens.permanent.token.expose().clone()),
        Canary::new("transient token", tokens.transient.unwrap().0.token.expose().clone()),
        Canary::new("passphrase", PASSPHRASE),
    ];
    let mut found = vec![("what was said".to_owned(), made.all().into_bytes())];
    everything_under(room, &mut found);
    assert!(found.len() > 10);
    for canary in &canaries {
        for (place, content) in &found {
            assert!(!canary.is_in(content), "{} in {place}", canary.what);
        }
        assert!(
            canary.is_in(&[b"...", &canary.bytes[..], b"..."].concat()),
            "the search finds what is there"
        );
    }
}

#[test]
fn a_backup_made_here_opens_elsewhere_and_one_made_elsewhere_is_restored_here() {
    let Some(mut open) = sdk::python("tests/cross/backup.py") else { return };
    let Some(mut seal) = sdk::python("tests/cross/backup.py") else { return };
    let backend = Backend::start(0);
    let room = backend.room();
    backend.init(None);
    succeed(room, &["login", "--session-stdin", "--home", "client"], &backend.session);
    succeed(room, &["abuse", "setup", "--home", "client"], "");
    assert_eq!(backup(room, "client", "tokens.llmtorbak").code, Some(0));

    let blob = std::fs::read_to_string(room.join("tokens.llmtorbak")).unwrap();
    let plain = program::finish(open.args(["open", PASSPHRASE]), &blob);
    assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));
    let plain: serde_json::Value = serde_json::from_slice(&plain.stdout).unwrap();
    let mut names: Vec<_> = plain.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = ["permanentSig", "permanentToken", "transientEpoch", "transientSig", "transientToken"];
    assert_eq!(names, expected);
    assert!(plain["transientEpoch"].as_u64().is_some_and(|epoch| epoch > 2026 * 12), "a number");

    let theirs = program::finish(seal.args(["seal", "their passphrase"]), &plain.to_string());
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    std::fs::write(room.join("theirs.llmmaskbak"), &theirs.stdout).unwrap();
    second_home(&backend, "second");
    let restored = restore(room, "second", &["theirs.llmmaskbak"], "their passphrase").json();
    assert_eq!((&restored["permanent"], &restored["transient"]), (&"restored".into(), &"restored".into()));

    // A monthly token that the pinned key did not sign, or of an earlier month, is skipped; the permanent one is restored.
    let sealed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = plain.clone();
        change(&mut changed);
        let mut seal = sdk::python("tests/cross/backup.py").unwrap();
        let sealed = program::finish(seal.args(["seal", "their passphrase"]), &changed.to_string());
        std::fs::write(room.join("changed.llmtorbak"), &sealed.stdout).unwrap();
    };
    let skipped = |home: &str, why: &str| {
        second_home(&backend, home);
        let restored = restore(room, home, &["changed.llmtorbak"], "their passphrase").json();
        assert_eq!((&restored["permanent"], &restored["transient"]), (&"restored".into(), &why.into()));
    };
    sealed(&|plain| plain["transientToken"] = plain["permanentToken"].clone());
    skipped("unsigned", "not_signed");
    // The operator has changed the key since.
    sealed(&|plain| {
        plain["transientEpoch"] = (plain["transientEpoch"].as_u64().unwrap() - 1).into();
        plain["transientSig"] = plain["permanentSig"].clone();
    });
    skipped("earlier", "other_month");
    second_home(&backend, "third");
    sealed(&|plain| plain["permanentSig"] = plain["transientSig"].clone());
    restore(room, "third", &["changed.llmtorbak"], "their passphrase").refused_json("forged");
    let status = succeed(room, &["abuse", "status", "--json", "--home", "third"], "").json();
    assert_eq!((&status["permanent"], &status["transient"]), (&false.into(), &serde_json::Value::Null));
    sealed(&|plain| {
        for name in ["transientToken", "transientSig", "transientEpoch"] {
            plain.as_object_mut().unwrap().remove(name);
        }
    });
    let restored = restore(room, "third", &["changed.llmtorbak"], "their passphrase").json();
    assert_eq!((&restored["permanent"], &restored["transient"]), (&"restored".into(), &"absent".into()));
}
