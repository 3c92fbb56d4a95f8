//! Running the guide.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::program::{self, Program};

use super::{Block, REFERENCE, RUN, blocks, contents, page};

/// What serves until it is stopped.
const SERVING: [&str; 3] = ["llmtor serve", "llmtor backend serve", "llmtor demo"];

/// Commands that the guide tells of and that are not there yet, by their first words: none now.
const COMING: [&str; 0] = [];

/// One user at one terminal.
struct Terminal {
    room: tempfile::TempDir,
    ports: [(u16, u16); 2],
    serving: Vec<Program>,
}

impl Terminal {
    fn open() -> Self {
        let room = tempfile::tempdir().unwrap();
        let programs = room.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(program::SHIPPED, programs.join("llmtor")).unwrap();
        let ports = [8787, 9797].map(|written| (written, free_port()));
        Self { room, ports, serving: Vec::new() }
    }

    /// With the ports that are free here.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (written, free) in self.ports {
            text = text.replace(&written.to_string(), &free.to_string());
        }
        text
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        program::confine(&mut command, self.room.path());
        let path = std::env::var("PATH").unwrap_or_default();
        let programs: PathBuf = self.room.path().join("bin");
        let state = self.room.path().join("exported");
        // What one block exports, the next has, as at one terminal.
        let script =
            format!("set -euo pipefail\n[ ! -e {0} ] || . {0}\n{script}\nexport -p > {0}\n", state.display());
        command.env("PATH", format!("{}:{path}", programs.display()));
        let port = |index: usize| self.ports[index].1;
        command.env("LLMTOR_SERVER__LISTEN", format!("127.0.0.1:{}", port(0)));
        command.args(["-c", &script]);
        command
    }

    fn run(&mut self, block: &Block) -> String {
        let mut said = String::new();
        let mut script = String::new();
        for line in block.text.lines() {
            if SERVING.iter().any(|command| line.starts_with(command)) {
                said += &self.finish(block, &std::mem::take(&mut script));
                self.serve(block, line);
            } else {
                script.push_str(line);
                script.push('\n');
            }
        }
        said + &self.finish(block, &script)
    }

    fn finish(&self, block: &Block, script: &str) -> String {
        if script.trim().is_empty() {
            return String::new();
        }
        let output = program::finish(&mut self.shell(&self.here(script)), "");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}:\n{script}\nended with {}\n{said}{}",
            block.place,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    fn serve(&mut self, block: &Block, line: &str) {
        let line = line.split('#').next().unwrap();
        let mut line = format!("exec {line}");
        if line.contains("backend serve") {
            line += " --listen 127.0.0.1:";
            line += &self.ports[1].1.to_string();
        }
        let mut program = Program::spawn(self.shell(&line));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !String::from_utf8_lossy(&program.stdout()).contains("ready at") {
            let ended = program.ended();
            let said = [program.stdout(), program.stderr()].concat();
            assert!(
                !ended && Instant::now() < deadline,
                "{}: {}",
                block.place,
                String::from_utf8_lossy(&said)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.serving.push(program);
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether `said` is what `shown` shows; `…` stands for anything on its line, or alone on one for any lines.
fn fits(shown: &[&str], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| fits(rest, &said[skipped..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, more)| line_fits(first, line) && fits(rest, more))
        }
    }
}

fn line_fits(shown: &str, said: &str) -> bool {
    let (shown, said) = (shown.trim_end(), said.trim_end());
    let Some((begin, _)) = shown.split_once('…') else { return shown == said };
    let Some(mut rest) = said.strip_prefix(begin) else { return false };
    let parts: Vec<&str> = shown.split('…').skip(1).collect();
    let (last, middle) = parts.split_last().unwrap();
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
#[cfg(unix)]
fn the_commands_of_the_guide_do_what_it_says() {
    let mut terminal = Terminal::open();
    let (mut run, mut compared) = (0, 0);
    for name in RUN {
        let mut said = String::new();
        for block in blocks(name, &page(name)) {
            match block.info.as_str() {
                "sh" => {
                    run += 1;
                    said = terminal.run(&block);
                }
                "text output" => {
                    compared += 1;
                    let shown = terminal.here(&block.text);
                    let (shown, lines): (Vec<_>, Vec<_>) = (shown.lines().collect(), said.lines().collect());
                    assert!(fits(&shown, &lines), "{}: it says\n{said}", block.place);
                }
                _ => {}
            }
        }
    }
    assert!(run > 12 && compared > 3, "{run} blocks were run, {compared} compared");
}

#[test]
fn every_page_with_commands_that_are_run_is_run() {
    for name in contents().into_iter().filter(|name| !REFERENCE.contains(&name.as_str())) {
        let has = blocks(&name, &page(&name)).iter().any(|block| block.info == "sh");
        assert_eq!(has, RUN.contains(&name.as_str()), "{name}: `sh` blocks are run only on the pages in RUN");
    }
}

#[test]
fn every_command_of_the_guide_exists_with_its_options() {
    let room = tempfile::tempdir().unwrap();
    let help = |words: &[&str]| program::finish(program::command(room.path()).args(words).arg("--help"), "");
    let mut seen = 0;
    for name in contents() {
        for block in blocks(&name, &page(&name)).iter().filter(|block| {
            // The others are run.
            block.info.starts_with("sh norun") || (block.info == "sh" && !RUN.contains(&name.as_str()))
        }) {
            for line in block.text.lines().filter(|line| line.starts_with("llmtor ")) {
                let line = line.split(['#', '<', '>', '|', ';']).next().unwrap();
                let words: Vec<&str> = line.split_whitespace().skip(1).collect();
                seen += 1;
                let output = help(&words);
                let told = String::from_utf8_lossy(&output.stderr);
                let is_coming = COMING.iter().any(|words| line.starts_with(&format!("llmtor {words}")));
                let what = if is_coming { "has come: take it out of COMING" } else { "is not there" };
                assert_eq!(output.status.success(), !is_coming, "{}: {line} {what}\n{told}", block.place);
            }
        }
    }
    assert!(seen > 5, "only {seen} commands were found");
}

#[test]
fn what_a_page_shows_is_compared_but_for_what_it_leaves_open() {
    assert!(fits(&["a…c", "…", "z"], &["abc", "x", "y", "z"]));
    assert!(!fits(&["a…c", "z"], &["abc", "x", "z"]));
    assert!(!fits(&["abc"], &["abd"]));
    assert!(!line_fits("a…b…c", "a c"));
    assert!(Path::new(program::SHIPPED).is_absolute());
}
