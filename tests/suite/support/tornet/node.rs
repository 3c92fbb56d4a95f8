//! One `tor` process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::keeper::Keeper;
use super::{control, keys, read};

pub(super) struct Node {
    home: PathBuf,
    prefix: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// Writes the settings, and starts a process with them.
    pub(super) fn start(home: PathBuf, torrc: &str, prefix: &[String], keeper: &Keeper) -> Self {
        keys::private(&home);
        let name = home.file_name().and_then(|name| name.to_str()).expect("a name");
        // Tor takes letters and digits, nineteen at most.
        let nickname: String = name.chars().filter(char::is_ascii_alphanumeric).take(19).collect();
        let own = format!(
            "DataDirectory {home}\nNickname {nickname}\nControlSocket {control}\nLog notice file {home}/log\n\
             SafeLogging 0\nLogTimeGranularity 1\n{torrc}",
            home = home.display(),
            control = home.join("control").display(),
        );
        std::fs::write(home.join("torrc"), own).unwrap();
        let mut node = Self { home, prefix: prefix.to_vec(), child: None };
        node.spawn(keeper);
        node
    }

    fn spawn(&mut self, keeper: &Keeper) {
        let mut words = self.prefix.iter().map(String::as_str).chain(["tor"]);
        let said = File::create(self.home.join("said")).unwrap();
        let child = Command::new(words.next().expect("a program"))
            .args(words)
            .args(["--quiet", "--defaults-torrc", "/dev/null", "-f"])
            .arg(self.home.join("torrc"))
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        keeper.keep(child.id());
        self.child = Some(child);
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Ends a stopped process too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Panics unless it runs.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a running relay").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Runs, or is about to, whatever was done to it.
    pub(super) fn mend(&mut self, keeper: &Keeper) {
        let runs = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
        if runs {
            self.signal("-CONT");
        } else {
            // What it said before is not what it says now.
            let _ = std::fs::remove_file(self.home.join("log"));
            self.spawn(keeper);
        }
    }

    /// Ends, and knows no consensus any more.
    pub(super) fn forget(&mut self) {
        self.kill();
        for file in ["cached", "unverified"] {
            for flavour in ["consensus", "microdesc-consensus"] {
                let _ = std::fs::remove_file(self.home.join(format!("{file}-{flavour}")));
            }
        }
        let _ = std::fs::remove_file(self.home.join("log"));
    }

    /// Whether it has a consensus, and that names so many relays.
    pub(super) fn has_consensus_of(&self, relays: usize) -> bool {
        let consensus = read(&self.home.join("cached-microdesc-consensus"));
        consensus.lines().filter(|line| line.starts_with("r ")).count() == relays
    }

    pub(super) fn is_bootstrapped(&self) -> bool {
        self.log().contains("Bootstrapped 100%")
    }

    pub(super) fn has_uploaded_descriptors(&self) -> bool {
        control::has_uploaded_descriptors(&self.control())
    }

    pub(super) fn client_circuits(&self) -> usize {
        control::client_circuits(&self.control(), &self.home.join("log"))
    }

    pub(super) fn control(&self) -> PathBuf {
        self.home.join("control")
    }

    pub(super) fn log(&self) -> String {
        format!("{}:\n{}{}", self.home.display(), read(&self.home.join("said")), tail(&self.home.join("log")))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(path: &Path) -> String {
    let text = read(path);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
