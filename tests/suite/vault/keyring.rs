//! The system's keyring for real: a session bus and a Secret Service of the test's own, and the binary.
//!
//! Needs `dbus-daemon`, `dbus-send` and `gnome-keyring-daemon` (Debian: `dbus`, `gnome-keyring`). Where they are
//! missing it says so and passes, except in CI.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::program;

const PROGRAMS: [&str; 3] = ["dbus-daemon", "dbus-send", "gnome-keyring-daemon"];
const SERVICE: &str = "org.freedesktop.secrets";

/// A bus that starts nothing by itself: not the developer's keyring, and no window that asks for a password.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir=ROOM</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// A child that does not outlive the test.
struct Held(Child);

impl Held {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A login session without a desktop: a bus, and an unlocked keyring on it.
struct Desk {
    keyring: Option<Held>,
    _bus: Held,
    address: String,
    room: tempfile::TempDir,
}

impl Desk {
    /// `None`, and a line that says why, where the programs are missing.
    fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let missing: Vec<_> = PROGRAMS
            .into_iter()
            .filter(|name| !std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
            .collect();
        if !missing.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "the keyring cannot be tested without {missing:?}");
            eprintln!("SKIPPED: the keyring is not tested without {missing:?}");
            return None;
        }
        let room = tempfile::tempdir().unwrap();
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let settings = room.path().join("bus.conf");
        fs::write(&settings, BUS.replace("ROOM", room.path().to_str().unwrap())).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", settings.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let mut desk = Self { keyring: None, _bus: Held(bus), address: address.trim().to_owned(), room };
        desk.unlock("password");
        Some(desk)
    }

    /// Starts the keyring with this password; the first one makes it.
    fn unlock(&mut self, password: &str) {
        self.keyring = None;
        let mut keyring = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.room.path())
            .env("XDG_RUNTIME_DIR", self.room.path())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        keyring.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        self.keyring = Some(Held(keyring));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self
            .bus_call(
                &["--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"],
                &["org.freedesktop.DBus.GetNameOwner", &format!("string:{SERVICE}")],
            )
            .status
            .success()
        {
            assert!(Instant::now() < deadline, "the keyring does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn bus_call(&self, to: &[&str], call: &[&str]) -> Output {
        Command::new("dbus-send")
            .args(["--session", "--print-reply"])
            .args(to)
            .args(call)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .output()
            .unwrap()
    }

    fn ask_keyring(&self, method: &str, argument: &str) -> String {
        let to = [format!("--dest={SERVICE}"), "/org/freedesktop/secrets".into()];
        let method = format!("org.freedesktop.Secret.Service.{method}");
        let said = self.bus_call(&to.each_ref().map(String::as_str), &[&method, argument]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    fn lock(&self) {
        self.ask_keyring("Lock", "array:objpath:/org/freedesktop/secrets/aliases/default");
    }

    /// How many entries of ours the keyring has.
    fn entries(&self) -> usize {
        self.ask_keyring("SearchItems", "dict:string:string:service,llmtor").matches("object path").count()
    }

    fn home(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// `llmtor status` in home `name`, which opens the vault, on this desk's bus.
    fn status(&self, name: &str, store: &str) -> Output {
        self.command(name, store).env("DBUS_SESSION_BUS_ADDRESS", &self.address).output().unwrap()
    }

    fn command(&self, name: &str, store: &str) -> Command {
        let mut command = program::command(self.room.path());
        command.arg("--home").arg(self.home(name));
        command.args(["--set", &format!("vault.key_store={store}"), "status"]);
        command
    }
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// It failed, and said so.
fn fails_with(output: &Output, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(text), "{said}");
}

fn record(home: &Path) -> String {
    fs::read_to_string(home.join("master.toml")).unwrap()
}

#[test]
fn a_real_keyring_keeps_the_key_of_each_home_and_gives_it_back_after_its_restart() {
    let Some(mut desk) = Desk::start() else { return };
    succeeds(&desk.status("one", "keyring"));
    assert_eq!(desk.entries(), 1);
    succeeds(&desk.status("two", "auto"));
    assert_eq!(desk.entries(), 2, "each home has an entry of its own");
    assert_ne!(record(&desk.home("one")), record(&desk.home("two")));
    for (home, store) in [("one", "keyring"), ("one", "auto"), ("two", "auto")] {
        assert!(record(&desk.home(home)).contains("store = \"keyring\""));
        assert!(!desk.home(home).join("master.key").exists());
        succeeds(&desk.status(home, store));
    }
    desk.unlock("password");
    succeeds(&desk.status("one", "auto"));
    assert_eq!(desk.entries(), 2, "nothing was stored anew");
}

#[test]
fn a_real_keyring_that_is_locked_or_gone_is_an_error_and_never_a_new_key() {
    let Some(mut desk) = Desk::start() else { return };
    succeeds(&desk.status("home", "keyring"));
    let before = record(&desk.home("home"));
    let unreachable = "the master key is in the system's keyring, and that cannot be reached";

    desk.lock();
    fails_with(&desk.status("home", "auto"), unreachable);
    fails_with(&desk.status("other", "keyring"), "no keyring could be used");
    assert!(!desk.home("other").join("master.key").exists());

    desk.unlock("password");
    succeeds(&desk.status("home", "auto"));

    desk.keyring = None;
    fails_with(&desk.status("home", "auto"), unreachable);
    fails_with(&desk.command("home", "keyring").output().unwrap(), unreachable);

    // Another user's, say: it answers, and does not have the key.
    fs::remove_dir_all(desk.room.path().join(".local/share/keyrings")).unwrap();
    desk.unlock("another");
    let said = desk.status("home", "auto");
    fails_with(&said, "the vault's key is gone");
    fails_with(&said, "master.toml");
    assert_eq!(desk.entries(), 0);

    assert_eq!(record(&desk.home("home")), before);
    assert!(!desk.home("home").join("master.key").exists());
}

#[test]
fn without_a_session_bus_the_key_is_a_private_file_and_no_keyring_is_looked_for() {
    let Some(desk) = Desk::start() else { return };
    let output = desk.command("home", "auto").output().unwrap();
    succeeds(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let file = desk.home("home").join("master.key");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(desk.entries(), 0);
    // Where it was put first it stays.
    succeeds(&desk.status("home", "auto"));
    assert_eq!(desk.entries(), 0);
}

#[test]
fn a_keyring_that_hangs_at_first_use_is_given_up_in_seconds_and_the_user_is_told() {
    let Some(desk) = Desk::start() else { return };
    desk.keyring.as_ref().unwrap().signal("-STOP");
    let begun = Instant::now();
    let output = desk.status("home", "auto");
    succeeds(&output);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(desk.home("home").join("master.key").exists());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the keyring did not take the master key"), "{said}");
}
