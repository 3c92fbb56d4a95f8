//! A pause on the private network, and the first call of a daemon that a service manager starts.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::support::house::Daemon;
use super::super::support::program::{self, Program, SHIPPED};
use super::super::support::tor_world::TorWorld;
use super::super::support::tornet::{self, TorNetwork};
use super::{SOON, assert_answers, wait_for_warm};

/// From the first byte of a call that starts the daemon to the last of its answer, with Tor's directory on disk.
const FIRST_CALL: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 2 });

/// Connections of the daemon to relays.
fn to_relays(network: &TorNetwork, daemon: &Daemon) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", daemon.program.pid())).unwrap().flatten();
    let links = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
    let own: Vec<String> = links.map(|link| link.display().to_string()).collect();
    let relays = format!(":{:04X}", network.or_port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2].ends_with(&relays) && row[3] == "01")
        .filter(|row| own.contains(&format!("socket:[{}]", row[9])))
        .count()
}

#[test]
fn a_pause_ends_every_connection_to_tor_and_resuming_needs_no_new_start() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 3);
    let daemon = world.serve(&[]);
    assert_answers(&daemon.ask("before"), "before");
    wait_for_warm(&world);
    assert!(to_relays(&network, &daemon) > 0);

    world.report(&["pause"]);
    assert!(tornet::poll(SOON, || to_relays(&network, &daemon) == 0), "connections stay open");
    let status = world.report(&["status"]);
    assert_eq!(
        (&status["daemon"]["tor"]["phase"], &status["daemon"]["warm"]),
        (&"at_rest".into(), &0.into())
    );
    assert_eq!(daemon.ask("while paused").status, 503);
    // Nothing brings them back but the user.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(to_relays(&network, &daemon), 0);

    world.report(&["resume"]);
    assert_answers(&daemon.ask("after"), "after");
    world.books().assert_balanced(2);
}

#[test]
fn a_daemon_that_was_paused_before_its_start_opens_no_connection_to_tor() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    world.report(&["pause"]);
    let daemon = world.serve(&[]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(to_relays(&network, &daemon), 0);
    world.report(&["resume"]);
    assert_answers(&daemon.ask("now"), "now");
}

#[test]
fn the_first_call_that_starts_a_daemon_is_answered_soon_when_tor_is_warm() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 2);
    let mut daemon = world.serve(&[]);
    assert_answers(&daemon.ask("warming"), "warming");
    assert!(daemon.program.stop().success());

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let started = world.activate(&socket, &daemon.api_key);
    let reply = started.ask("first");
    let took = begun.elapsed();
    assert_answers(&reply, "first");
    eprintln!("the first call after socket activation took {} ms", took.as_millis());
    assert!(took < FIRST_CALL, "{took:?}");
}

#[test]
fn in_the_service_s_own_user_namespace_the_home_is_still_trusted() {
    let Some(network) = tornet::using() else { return };
    let room = tempfile::tempdir().unwrap();
    let probe =
        Command::new("unshare").args(["--user", "--map-current-user", "stat", "-c", "%u", "/"]).output();
    // As root everything of root's stays root's; as anybody else it is nobody's, as in the service.
    let as_user =
        ["--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--user", "--map-current-user"];
    let is_root = probe.as_ref().is_ok_and(|probe| probe.stdout == b"0\n");
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("SKIPPED: this system denies user namespaces");
        return;
    }
    let mut program = Command::new(if is_root { "setpriv" } else { "unshare" });
    program.args(if is_root { &as_user[..] } else { &as_user[4..] });
    program.args([SHIPPED, "serve", "--home", "client", "--listen", "127.0.0.1:0", "--json"]);
    for url in
        ["backend.identity_url=https://backend.invalid", "backend.anonymous_url=https://backend.invalid"]
    {
        program.args(["--set", url]);
    }
    fs::write(room.path().join("arti.toml"), network.arti_toml()).unwrap();
    let arti = format!("tor.arti_config={}", room.path().join("arti.toml").display());
    program.args(["--set", &arti]);
    program::confine(&mut program, room.path());
    if is_root {
        for directory in [room.path().to_owned(), room.path().join("tmp")] {
            std::os::unix::fs::chown(&directory, Some(1000), Some(1000)).unwrap();
        }
        let probe =
            Command::new("setpriv").args(&as_user[..3]).args([SHIPPED, "--version"]).output().unwrap();
        if !probe.status.success() {
            eprintln!("SKIPPED: another user may not run the program where it was built");
            return;
        }
    }
    let mut program = Program::spawn(program);
    assert_eq!(program.ready()["event"], "ready");
}
