//! What the daemon keeps of its words, and what a report tells of all.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::canary::Canary;
use crate::support::house::{House, MODEL};
use crate::support::program::{self, Program};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A house with one client, `alice`, who has two tokens.
fn house() -> House {
    let mut house = House::open(4, "warn");
    let url = format!("http://{}", house.address());
    house.furnish("client", &url, 2);
    house
}

#[test]
fn the_daemons_log_is_kept_in_the_home_and_shown_with_and_without_a_daemon() {
    let house = house();
    let mut daemon = house.serve("client", &[]);
    let reply = daemon.ask("canaryLogged1");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let running = text(&house.client("client", &["logs"], ""));
    assert!(running.contains(" INFO ") && running.contains("runs at http://"), "{running}");
    assert!(!running.contains("canary"), "{running}");

    let follow = house.arguments("client", &["logs", "--follow", "-n", "1"]);
    let mut follower = Program::start(house.room(), &follow);
    let deadline = Instant::now() + Duration::from_secs(10);
    while follower.stdout().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let logs = house.home("client").join("logs");
    let file = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    #[cfg(unix)]
    assert_eq!((mode(&logs), mode(&file)), (0o700, 0o600));
    let mut added = std::fs::File::options().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut added, b"2026-11-26T00:00:00Z  WARN llmtor: the line that came\n")
        .unwrap();
    while !text(&follower.stdout()).contains("the line that came") {
        assert!(Instant::now() < deadline, "{}", text(&follower.stdout()));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(follower.stop().success(), "Ctrl-C is how one ends it");

    assert!(daemon.program.stop().success());
    let stopped = text(&house.client("client", &["logs", "--level", "warn", "-n", "1"], ""));
    assert_eq!(stopped, "2026-11-26T00:00:00Z  WARN llmtor: the line that came\n");
    let lines = house.client("client", &["logs", "-n", "1", "--json"], "");
    let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
    assert_eq!(line["level"], "warn", "{line}");
    let path = text(&house.client("client", &["logs", "--path"], ""));
    assert!(path.trim().ends_with("client/logs"), "{path}");
}

#[test]
fn a_home_without_a_log_is_told_so_and_none_is_kept_where_none_is_wanted() {
    let house = house();
    let none = text(&house.client("client", &["logs"], ""));
    assert!(none.contains("nothing is logged") && none.contains("llmtor serve"), "{none}");
    let mut daemon = house.serve("client", &["--set", "log.files=0"]);
    assert!(daemon.program.stop().success());
    assert!(!house.home("client").join("logs").exists());
}

#[test]
fn a_report_tells_nothing_of_whose_it_is_and_never_overwrites() {
    let house = house();
    let mut daemon = house.serve("client", &[]);
    assert_eq!(daemon.ask("canaryPromptOfReport").status, 200);
    assert!(daemon.program.stop().success());
    let logs = house.home("client").join("logs");
    let file = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let mut added = std::fs::File::options().append(true).open(&file).unwrap();
    let planted = "2026-11-26T00:00:00Z  WARN llmtor: canaryperson@mail.example at https://canaryhost.example/x and \
                   /srv/canaryfolder/y by canaryuser on 192.0.2.77\n";
    std::io::Write::write_all(&mut added, planted.as_bytes()).unwrap();

    // An address that no way out leads to: the doctor finds that at once, and asks nobody.
    let wrong = "backend.anonymous_url=http://canaryhost.example";
    let arguments = house.arguments("client", &["report", "--set", wrong]);
    let run = |more: &[&str]| {
        let mut command = program::command(house.room());
        command.env("USER", "canaryuser").args(&arguments).args(more);
        program::finish(&mut command, "")
    };
    let shown = run(&[]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    assert!(text(&shown.stderr).contains("not saved"), "{}", text(&shown.stderr));
    let saved = run(&["--yes", "--output", "report.md"]);
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let path = house.room().join("report.md");
    let report = std::fs::read(&path).unwrap();
    assert_eq!(text(&saved.stdout), text(&report), "what is saved is what was shown");
    #[cfg(unix)]
    assert_eq!(mode(&path), 0o600);

    let key = std::fs::read_to_string(house.home("client").join("api-key")).unwrap();
    for (what, secret) in [
        ("the session", house.session.as_str()),
        ("the key", key.trim()),
        ("the directory", house.room().to_str().unwrap()),
        ("a host", "canaryhost"),
        ("a user", "canaryuser"),
        ("a folder", "canaryfolder"),
        ("a person", "canaryperson"),
        ("a prompt", "canaryPromptOfReport"),
        ("an address", "192.0.2.77"),
    ] {
        assert!(!Canary::new(what, secret).is_in(&report), "{what}: {}", text(&report));
    }
    let report = text(&report);
    assert!(report.contains("some tokens usable"), "{report}");
    for told in
        ["PROBLEM", "`backend.anonymous_url`: set **(changed)**", "(default)", "runs at http://127.0.0.1"]
    {
        assert!(report.contains(told), "{told} is not in {report}");
    }
    assert!(!report.contains(MODEL), "which models somebody uses is theirs: {report}");

    let again = run(&["--yes", "--output", "report.md"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--output"), "{}", text(&again.stderr));
    let told = run(&["--with-hosts"]);
    assert!(text(&told.stdout).contains("https://canaryhost.example/…"), "{}", text(&told.stdout));
}

#[test]
fn where_no_terminal_is_the_daemon_says_where_it_is_and_not_its_key() {
    let house = house();
    let serve = house.arguments("client", &["serve", "--listen", "127.0.0.1:0", "--transport", "loopback"]);
    let mut daemon = Program::start(house.room(), &serve);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !text(&daemon.stdout()).contains("ready at") {
        assert!(Instant::now() < deadline && !daemon.ended(), "{}", text(&daemon.stderr()));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(daemon.stop().success());
    let said = text(&daemon.stdout()) + &text(&daemon.stderr());
    assert!(said.contains("llmtor env") && !said.contains("sk-llmtor-"), "{said}");
}
