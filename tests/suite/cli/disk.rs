//! The disk and its files in a bad state, with the real program: full, read-only, held by another program, from a newer
//! version. (A damaged vault and homes that cannot be one are in `life`; clocks that jump in `vault::power`.)

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;

use super::bench::{Backend, MODEL, chat, hello, llmtor, succeed};
use crate::support::relay::Relay;

/// A small file system of its own in memory; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and a line that says why, where none can be mounted; in CI that is a failure.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        if mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "none"], at) {
            return Some(Self(at.to_owned()));
        }
        assert!(std::env::var_os("CI").is_none(), "no disk can be mounted");
        eprintln!("SKIPPED: only root may mount a small disk");
        None
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[1; 512]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn remount(&self, how: &str) {
        assert!(mount(&["-o", &format!("remount,{how}")], &self.0), "{how}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a process that is being killed still has files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(options: &[&str], at: &Path) -> bool {
    let output = Command::new("mount").args(options).arg(at).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn on_a_full_disk_a_call_fails_before_a_byte_leaves_and_goes_through_when_there_is_room_again() {
    let backend = Backend::start(3);
    let Some(disk) = Disk::mount(&backend.room().join("client"), "4m") else { return };
    let relay = Relay::start(backend.url.trim_start_matches("http://").parse().unwrap());
    backend.init(Some(&format!("http://{}", relay.address())));
    backend.stock_up(3);
    let daemon = backend.serve();
    let ask = || chat(&daemon.base_url, &daemon.api_key, &hello(false));
    assert_eq!(ask().status, 200);
    let sent = |relay: &Relay| relay.recorded().iter().filter(|request| !request.is_empty()).count();
    let before = sent(&relay);

    // Once the log is folded in, there is no old space in it to write to.
    let log = backend.room().join("client/vault.db-wal");
    for _ in 0..200 {
        if fs::metadata(&log).map_or(0, |found| found.len()) == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    disk.fill();
    for _ in 0..2 {
        let reply = ask();
        assert_eq!(reply.status, 500, "{}", reply.body);
        assert!(reply.body.contains("the disk is full: make room"), "{}", reply.body);
    }
    assert_eq!(sent(&relay), before, "something left");
    disk.make_room();
    let reply = ask();
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(sent(&relay), before + 1);
    let stock = backend.stock();
    assert_eq!((&stock["available"], &stock["spent"]), (&1.into(), &2.into()), "{stock}");
    assert_eq!((&stock["in_doubt"], &stock["reserved"]), (&0.into(), &0.into()), "{stock}");
    drop(daemon);
}

#[test]
fn on_a_full_disk_nothing_is_ordered_and_no_credit_is_taken() {
    let backend = Backend::start(3);
    let Some(disk) = Disk::mount(&backend.room().join("client"), "4m") else { return };
    backend.init(None);
    backend.stock_up(1);
    disk.fill();
    let mint = ["tokens", "mint", "--model", MODEL, "--count", "1", "--now", "--home", "client"];
    llmtor(backend.room(), &[], &mint, "").refused(1, &["full"]);
    disk.make_room();
    let account = succeed(backend.room(), &["account", "--json", "--home", "client"], "").json();
    assert_eq!(account["credits"][MODEL], 2);
    succeed(backend.room(), &mint, "");
    assert_eq!(backend.stock()["available"], 2);
}

#[test]
fn a_read_only_disk_is_told_and_a_writable_one_works_again() {
    let room = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&room.path().join("h"), "4m") else { return };
    succeed(room.path(), &["tokens", "--home", "h"], "");
    disk.remount("ro");
    for command in [&["tokens", "--home", "h"][..], &["serve", "--home", "h", "--listen", "127.0.0.1:0"]] {
        llmtor(room.path(), &[], command, "").refused(1, &["read-only", "writable", "--home"]);
    }
    disk.remount("rw");
    succeed(room.path(), &["tokens", "--home", "h"], "");
}

#[test]
fn a_vault_that_another_program_has_open_is_told_and_left_to_it() {
    let room = tempfile::tempdir().unwrap();
    succeed(room.path(), &["tokens", "--home", "h"], "");
    let held = Connection::open(room.path().join("h/vault.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    llmtor(room.path(), &[], &["tokens", "--home", "h"], "")
        .refused(1, &["another program has vault.db open", "close it"]);
    drop(held);
    succeed(room.path(), &["tokens", "--home", "h"], "");
}

#[test]
fn while_the_daemon_runs_no_other_program_gets_at_the_vault_and_calls_go_on() {
    let backend = Backend::start(2);
    backend.init(None);
    backend.stock_up(2);
    let daemon = backend.serve();
    let other = Connection::open(backend.room().join("client/vault.db")).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let looked = other.query_row("SELECT count(*) FROM tokens", [], |row| row.get::<_, i64>(0));
    let code = looked.unwrap_err().sqlite_error_code();
    assert_eq!(code, Some(rusqlite::ErrorCode::DatabaseBusy));
    assert_eq!(chat(&daemon.base_url, &daemon.api_key, &hello(false)).status, 200);
}

#[test]
fn a_vault_of_a_newer_version_is_told_and_left_alone() {
    let room = tempfile::tempdir().unwrap();
    succeed(room.path(), &["tokens", "--home", "h"], "");
    let vault = room.path().join("h/vault.db");
    let conn = Connection::open(&vault).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    conn.close().unwrap();
    let before = fs::read(&vault).unwrap();
    for command in [&["tokens", "--home", "h"][..], &["status", "--home", "h"]] {
        llmtor(room.path(), &[], command, "").refused(1, &["format 99", "install a newer llmtor"]);
    }
    assert!(fs::read(&vault).unwrap() == before, "it was touched");
}
