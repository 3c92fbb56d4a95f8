//! The daemon's memory after its calls: nothing of a token that is spent, and no core file.
//!
//! All memory that the process may write is read through `/proc`. That takes the right to trace it: root's, or a parent's
//! where the system lets parents.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Command;
use std::time::Duration;

use super::super::support::canary::Canary;
use super::super::support::program::{self, Program};
use super::super::support::world::{MODEL, World};
use super::{files_under, payment};

/// Everything that the process may write to.
fn memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut file = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        file.seek(SeekFrom::Start(from)).unwrap();
        // Some of the kernel's own are not readable; what is there comes.
        let _ = (&mut file).take(to - from).read_to_end(&mut all);
        // So that nothing is found across two regions.
        all.extend_from_slice(&[0; 8]);
    }
    all
}

/// Which of them are there, in any disguise. One pass: there is much memory, and it is looked at by a slow build.
fn found(canaries: &[Canary], memory: &[u8]) -> Vec<&'static str> {
    let needles: Vec<_> = canaries
        .iter()
        .flat_map(|canary| canary.disguises().into_iter().map(|needle| (canary.what, needle)))
        .collect();
    let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    let mut begins = vec![false; 1 << 16];
    needles.iter().for_each(|(_, needle)| begins[pair(needle)] = true);
    let mut found = Vec::new();
    for at in 0..memory.len().saturating_sub(1) {
        if begins[pair(&memory[at..])] {
            let rest = &memory[at..];
            found
                .extend(needles.iter().filter(|(_, needle)| rest.starts_with(needle)).map(|(what, _)| *what));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn nothing_of_a_spent_token_is_in_the_daemons_memory() {
    let world = World::start(4, "info");
    let body = |stream: bool, text: &str| {
        format!(
            r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{text}"}}],"stream":{stream}}}"#
        )
    };
    for (stream, text) in [(false, "canaryMemory01"), (true, "canaryMemory02"), (false, "canaryMemory03")] {
        let reply = world.daemon.post_chat(&[], &body(stream, text));
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    let stock = world.report("client", &["tokens"])["models"][MODEL].clone();
    assert_eq!((&stock["spent"], &stock["presented"]), (&3.into(), &0.into()), "{stock}");
    let mut spent = Vec::new();
    for request in world.relay.recorded() {
        let mut paid = payment(&request);
        // The abuse tokens are used again.
        paid.truncate(2);
        let signature = paid.pop().unwrap();
        spent.push(Canary::new("a token", paid.pop().unwrap()));
        spent.push(Canary::new("a signature", signature));
    }
    assert_eq!(spent.len(), 6);
    // The vault's thread and the connections' tasks end a moment after the last answer.
    let mut left = vec!["not looked at"];
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        let memory = memory(world.daemon.program.pid());
        // What the daemon must know is found: the search works.
        let key = Canary::new("the API key", world.daemon.api_key.clone());
        assert_eq!(found(&[key], &memory), ["the API key"]);
        left = found(&spent, &memory);
        if left.is_empty() {
            return;
        }
    }
    panic!("still there: {left:?}");
}

#[test]
fn a_crash_leaves_no_core_file_whatever_the_limit_was() {
    let room = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    program::confine(&mut command, room.path());
    command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", program::SHIPPED]).args([
        "backend",
        "serve",
        "--home",
        "backend",
        "--listen",
        "127.0.0.1:0",
        "--json",
    ]);
    let mut program = Program::spawn(command);
    program.ready();
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", program.pid())).unwrap();
    let limits = of("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    assert_eq!(u32::from_str_radix(of("coredump_filter").trim(), 16), Ok(0));
    let pid = program.pid().to_string();
    assert!(Command::new("kill").args(["-ABRT", &pid]).status().unwrap().success());
    while !program.ended() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = files_under(room.path());
    assert!(left.iter().all(|place| !place.name.rsplit('/').next().unwrap().starts_with("core")));
}
