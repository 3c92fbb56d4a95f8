//! The real binary as a child process, with everything that it says kept.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to say that it is ready; an unoptimised build makes its keys slowly.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// The program as it is shipped.
pub const SHIPPED: &str = env!("CARGO_BIN_EXE_llmtor");

#[derive(Default)]
struct Said {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
}

/// A running `llmtor`; killed when dropped.
pub struct Program {
    child: Child,
    stdout: Arc<Said>,
    stderr: Arc<Said>,
}

/// `llmtor` with an environment that holds nothing of the developer's: home and temporary files go under `room`.
/// Another build of it than the tests' own is taken from `LLMTOR_BIN`, for runs so long that the build matters.
pub fn command(room: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("LLMTOR_BIN").unwrap_or_else(|| SHIPPED.into()));
    confine(&mut command, room);
    command
}

/// Gives any command such an environment.
pub fn confine(command: &mut Command, room: &Path) {
    let temporary = room.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    command.env_clear();
    for kept in ["PATH", "LD_LIBRARY_PATH", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.env("HOME", room).env("TMPDIR", &temporary).current_dir(room);
}

/// Puts a program in front of `PATH` that opens nothing, and writes down what it was told to. The new `PATH`, and the file.
pub fn opener(room: &Path) -> (String, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;

    let (bin, opened) = (room.join("bin"), room.join("opened"));
    std::fs::create_dir_all(&bin).unwrap();
    let script = format!("#!/bin/sh\nprintf '%s' \"$*\" > '{0}.new'\nmv '{0}.new' '{0}'\n", opened.display());
    std::fs::write(bin.join("xdg-open"), script).unwrap();
    std::fs::set_permissions(bin.join("xdg-open"), std::fs::Permissions::from_mode(0o755)).unwrap();
    (format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()), opened)
}

/// Where the file leads that a browser was told to open: nobody else may read it, and its path tells nothing.
pub fn link_in(slip: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;

    let name = Path::new(slip).file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("llmtor-open-"), "{slip}");
    assert_eq!(std::fs::metadata(slip).unwrap().permissions().mode() & 0o777, 0o600);
    let page = std::fs::read_to_string(slip).unwrap();
    let link = page.split("content=\"0; url=").nth(1).unwrap().split('"').next().unwrap();
    link.replace("&amp;", "&")
}

/// Runs to the end, whatever the end is, with `input` on standard input.
pub fn finish(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A child that reads nothing closes the pipe early; that is its right.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs to the end. Panics, with what was said, when the exit code is not 0.
pub fn run(room: &Path, arguments: &[&str], input: &str) -> Output {
    let output = finish(command(room).args(arguments), input);
    assert!(
        output.status.success(),
        "llmtor {arguments:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

impl Program {
    /// Starts `llmtor` with `arguments`.
    pub fn start(room: &Path, arguments: &[&str]) -> Self {
        Self::start_in(room, &[], arguments)
    }

    /// Starts `llmtor` with `arguments` and more in its `environment`.
    pub fn start_in(room: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = command(room);
        command.envs(environment.iter().copied()).args(arguments);
        Self::spawn(command)
    }

    /// Starts a command that is, or becomes, `llmtor`.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with_input(command, Stdio::null())
    }

    /// The same, with something on its standard input.
    pub fn spawn_with_input(mut command: Command, input: Stdio) -> Self {
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = listen(child.stdout.take().unwrap());
        let stderr = listen(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The first line of standard output, as JSON.
    pub fn ready(&mut self) -> serde_json::Value {
        let deadline = Instant::now() + READY_WITHIN;
        let mut bytes = self.stdout.bytes.lock().unwrap();
        loop {
            if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                return serde_json::from_slice(&bytes[..end]).unwrap();
            }
            let ended = self.child.try_wait().unwrap().is_some();
            assert!(!ended && Instant::now() < deadline, "not ready: {}", self.stderr_text());
            bytes = self.stdout.more.wait_timeout(bytes, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes.lock().unwrap().clone()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.stderr.bytes.lock().unwrap().clone()
    }

    fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr()).into_owned()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.status().is_some()
    }

    /// How it ended, once it has.
    pub fn status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the end of the process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the end of the process.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(source: impl Read + Send + 'static) -> Arc<Said> {
    let said = Arc::new(Said::default());
    let into = Arc::clone(&said);
    thread::spawn(move || {
        let mut lines = BufReader::new(source);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.bytes.lock().unwrap().append(&mut line);
            into.more.notify_all();
        }
    });
    said
}
