//! Ends and removes everything that a network left, when the process that made it is gone.
//!
//! A static is not dropped at the end of a process, and a process that is killed drops nothing. So a shell reads process
//! numbers from a pipe whose other end only this process has: when that ends, for whatever reason, the shell kills
//! those that still belong to the network's directory, stopped ones too, and removes the directory. It has a process group
//! of its own, so that Ctrl-C does not take it along.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A number is taken for one of ours only while its command line names the directory: it may be somebody else's by then.
const WATCH: &str = r#"
trap '' INT TERM HUP
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$1/"; then kill -9 "$pid"; fi
done
rm -rf "$1"
"#;

#[derive(Clone)]
pub(super) struct Keeper {
    room: PathBuf,
    shell: Arc<Shell>,
}

struct Shell {
    child: Mutex<Child>,
    pids: Mutex<Option<ChildStdin>>,
}

impl Keeper {
    /// With a new directory.
    pub(super) fn start() -> Self {
        let room = tempfile::Builder::new().prefix("llmtor-tornet-").tempdir().unwrap().keep();
        let mut child = Command::new("sh")
            .args(["-c", WATCH, "keeper"])
            .arg(&room)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let pids = Mutex::new(child.stdin.take());
        Self { room, shell: Arc::new(Shell { child: Mutex::new(child), pids }) }
    }

    /// The directory, removed at the end.
    pub(super) fn room(&self) -> &Path {
        &self.room
    }

    /// Another process to end.
    pub(super) fn keep(&self, pid: u32) {
        let mut pids = self.shell.pids.lock().unwrap();
        writeln!(pids.as_mut().expect("open until the end"), "{pid}").unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        *self.pids.get_mut().unwrap() = None;
        let _ = self.child.get_mut().unwrap().wait();
    }
}
