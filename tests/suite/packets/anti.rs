//! The proof can fail: a build that leaks on purpose, one way at a time, and the detector that each way must set off.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::capture::Capture;
use super::judge::{Detector, judge};
use super::namespace::WAY_OUT;
use super::world::{BACKEND, Wanted, World, v4};
use crate::support::canary::contains;
use crate::support::program::SHIPPED;

const VARIABLE: &str = "LLMTOR_LEAK";

#[test]
fn each_leak_is_found_by_its_detector_and_by_no_other() {
    let Some(world) = World::open(10) else { return };
    let program = leaking();
    world.init();
    world.login_and_mint(10);
    let room = world.house.room();

    let backend = world.backend_socket();
    let backend6 = TcpListener::bind((world.namespace.v6(BACKEND), 0)).unwrap();
    let relay = world.network.relay_sockets()[0];
    let asked_by_client = || {
        let asked = world.resolver.asked();
        asked.iter().filter(|asked| *v4(asked.source).ip() == world.namespace.client()).count()
    };
    let leaks = [
        ("the leaking build without a leak", String::new(), None),
        ("TCP", format!("tcp {backend}"), Some(Detector::Flow)),
        ("DNS", format!("dns {}", world.name), Some(Detector::Dns)),
        ("another name's DNS", "dns another.test".to_owned(), Some(Detector::Udp)),
        ("ICMP", format!("icmp {}", backend.ip()), Some(Detector::Icmp)),
        ("IPv6", format!("ipv6 {}", backend6.local_addr().unwrap()), Some(Detector::Ipv6)),
        ("the prompt in clear", format!("clear {relay}"), Some(Detector::Clear)),
    ];
    for (what, leak, detector) in leaks {
        let before = asked_by_client();
        let capture = Capture::start(&world.namespace, WAY_OUT, room);
        let mut daemon = world.serve(&program, &[(VARIABLE, &leak)]);
        daemon.answers(what, Wanted::Whole);
        assert!(daemon.program.stop().success());
        let report = judge(&capture.finish(), &world.allowed(Vec::new()));
        assert_eq!(report.fired(), Vec::from_iter(detector), "{what}: {:#?}", report.verdicts);
        let resolves = leak.starts_with("dns");
        assert_eq!(asked_by_client() > before, resolves, "{what}: what the resolver wrote down");
        eprintln!("{what}: {:?}", report.verdicts.iter().map(|verdict| &verdict.what).collect::<Vec<_>>());
    }
}

#[test]
fn the_shipped_program_has_no_trace_of_the_leaks() {
    let shipped = std::fs::read(SHIPPED).unwrap();
    let leaks = std::fs::read(leaking()).unwrap();
    assert!(contains(&leaks, VARIABLE.as_bytes()), "the search cannot find it");
    assert!(!contains(&shipped, VARIABLE.as_bytes()));
}

#[test]
fn a_build_without_debug_assertions_such_as_a_release_refuses_the_leaks() {
    let output = cargo(&["rustc", "--lib", "--profile", "test"])
        .args(["--", "-C", "debug-assertions=off"])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("a release cannot have it"), "{said}");
}

/// The leaking build, made if it is not up to date. It shares the dependencies that these tests are built with.
fn leaking() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let output = cargo(&["build", "--example", "llmtor-leaking"])
            .args(["--message-format", "json-render-diagnostics"])
            .output()
            .unwrap();
        assert!(output.status.success(), "the leaking build cannot be made");
        let messages = String::from_utf8(output.stdout).unwrap();
        let messages =
            messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let executable = |message: serde_json::Value| Some(message["executable"].as_str()?.to_owned());
        messages.rev().find_map(executable).expect("an executable").into()
    };
    PROGRAM.get_or_init(build).clone()
}

/// Cargo with the feature `leak`, into the directory that these tests were built in.
fn cargo(what: &[&str]) -> Command {
    let target = Path::new(SHIPPED).ancestors().nth(2).expect("target/debug/llmtor");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    // What cargo tells a test of its package it would take for a change: build scripts ask for these variables.
    for (name, _) in std::env::vars_os() {
        let of_the_test = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if of_the_test.iter().any(|told| name.to_string_lossy().starts_with(told)) {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(what).args(["--locked", "--features", "leak"]);
    command.arg("--target-dir").arg(target).stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}
