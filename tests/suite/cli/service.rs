//! The service: its units, sockets that a service manager holds, and restarts that lose no call.
//!
//! Needs `systemd-analyze` and `systemd-socket-activate` (Debian: `systemd`). Where they are missing the tests say so
//! instead, except in CI.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::bench::{Backend, Gate, MODEL, chat, hello, llmtor, succeed};
use crate::support::program::{Program, SHIPPED, command};

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "the service cannot be tested without {program}");
        eprintln!("SKIPPED: the service cannot be tested without {program}");
    }
    found
}

#[test]
fn the_units_are_sound_and_give_away_little() {
    if !is_there("systemd-analyze") {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for unit in ["llmtor.service", "llmtor.socket"] {
        let text = fs::read_to_string(units.join(unit)).unwrap();
        // The program is not installed here.
        fs::write(room.path().join(unit), text.replace("/usr/bin/llmtor", "/bin/true")).unwrap();
    }
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).env("XDG_RUNTIME_DIR", room.path()).env("HOME", room.path());
        let output = command.current_dir(room.path()).output().unwrap();
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let (sound, said) = analyze(&["--user", "--man=no", "verify", "./llmtor.service", "./llmtor.socket"]);
    assert!(sound && !said.contains("Unknown"), "{said}");
    let (_, said) = analyze(&["--user", "security", "--offline=true", "./llmtor.service"]);
    let score = said.split_once("exposure level for llmtor.service: ").unwrap().1;
    let score: f64 = score.split_whitespace().next().unwrap().parse().unwrap();
    assert!(score <= 3.0, "{said}");
}

#[test]
fn a_session_without_a_service_manager_is_told_what_to_do() {
    let room = tempfile::tempdir().unwrap();
    let tools = room.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let systemctl = tools.join("systemctl");
    fs::write(&systemctl, "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
        .unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let refused = llmtor(room.path(), &[("PATH", &path)], &["service", "install", "--home", "client"], "");
    refused.refused(1, &["No medium found", "llmtor serve", "wsl.conf"]);
    assert!(!room.path().join(".config/systemd/user/llmtor.service").exists());
    let status = succeed(room.path(), &["service", "status", "--home", "client"], "");
    assert!(status.stdout.contains("llmtor service install"), "{}", status.stdout);
    // Nothing to remove is no failure: whoever removes the package is told to run it.
    let removed = llmtor(room.path(), &[("PATH", &path)], &["service", "uninstall", "--home", "client"], "");
    assert_eq!(removed.code, Some(0), "{}", removed.all());
}

#[test]
fn a_daemon_that_is_started_goes_by_the_same_sets_as_whoever_needs_it() {
    let room = tempfile::tempdir().unwrap();
    let key =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/rsa2048-a.pem")).unwrap();
    fs::write(room.path().join("keys.json"), serde_json::json!({ "gpt-4.1": key }).to_string()).unwrap();
    let init = ["init", "--home", "client", "--backend", "http://127.0.0.1:1", "--keys", "keys.json"];
    succeed(room.path(), &init, "");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let set = format!("server.listen=127.0.0.1:{port}");
    let done = llmtor(room.path(), &[], &["--home", "client", "--set", &set, "setup", "codex", "--yes"], "");
    let status = succeed(room.path(), &["--home", "client", "status", "--json"], "").json();
    if let Some(pid) = status["daemon"]["pid"].as_u64() {
        assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    }
    assert_eq!(status["daemon"]["base_url"], format!("http://127.0.0.1:{port}/v1"), "{}", done.all());
}

/// Does what it is told, and writes down what that was.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/asked"
case "$2" in
is-system-running) echo running ;;
is-active) case "$3" in *.socket) echo active ;; *) echo inactive; exit 3 ;; esac ;;
esac
"#;

#[test]
fn a_service_is_installed_asked_and_removed_and_other_homes_and_files_are_left_alone() {
    let room = tempfile::tempdir().unwrap();
    let tools = room.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let systemctl = tools.join("systemctl");
    fs::write(&systemctl, SYSTEMCTL).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let service = |word: &str, home: &str| {
        llmtor(room.path(), &[("PATH", &path)], &["service", word, "--home", home], "")
    };
    service("start", "client").refused(1, &["llmtor service install"]);
    let installed = service("install", "client");
    assert!(installed.stdout.contains("the first call starts llmtor"), "{}", installed.all());
    let unit = room.path().join(".config/systemd/user/llmtor.service");
    let text = fs::read_to_string(&unit).unwrap();
    let home = room.path().join("client");
    let line = format!("ExecStart=\"{SHIPPED}\" \"serve\" \"--home\" \"{}\"", home.display());
    assert!(text.lines().any(|found| found == line), "{text}");
    for (word, asked) in [
        ("start", "--user start llmtor.socket llmtor.service"),
        ("stop", "--user stop llmtor.socket llmtor.service"),
    ] {
        assert_eq!(service(word, "client").code, Some(0));
        let said = fs::read_to_string(room.path().join("asked")).unwrap();
        assert!(said.lines().any(|line| line == asked), "{said}");
    }
    // It would not know of them.
    let asked = fs::read_to_string(room.path().join("asked")).unwrap();
    for word in ["start", "install"] {
        let arguments = ["--set", "identity.transport=tor", "service", word, "--home", "client"];
        let refused = llmtor(room.path(), &[("PATH", &path)], &arguments, "");
        refused.refused(2, &["--set identity.transport=tor", "config.toml"]);
    }
    assert_eq!(fs::read_to_string(room.path().join("asked")).unwrap(), asked);
    service("stop", "other").refused(1, &["another home"]);
    assert_eq!(service("uninstall", "client").code, Some(0));
    assert!(!unit.exists() && home.is_dir());
    fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    service("install", "client").refused(1, &["is not ours"]);
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Service]\nExecStart=/bin/true\n");
}

#[test]
fn the_first_call_starts_the_daemon_and_is_answered_within_two_seconds() {
    if !is_there("systemd-socket-activate") {
        return;
    }
    let backend = Backend::start(1);
    backend.init(None);
    backend.stock_up(1);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let [v4, v6] = [format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let mut activator = Command::new("systemd-socket-activate");
    activator.args(["-l", &v4, "-l", &v6]);
    for name in ["HOME", "TMPDIR"] {
        activator.args(["-E", name]);
    }
    activator.args([
        SHIPPED,
        "serve",
        "--home",
        "client",
        "--transport",
        "loopback",
        "--listen",
        &v4,
        "--json",
    ]);
    crate::support::program::confine(&mut activator, backend.room());
    let mut activator = Program::spawn(activator);
    let deadline = Instant::now() + Duration::from_secs(10);
    // A connection would start it; that it listens is seen in the system's table.
    let hex = format!(":{port:04X} ");
    while !fs::read_to_string("/proc/net/tcp").unwrap().contains(&hex) {
        assert!(Instant::now() < deadline, "nobody listens");
        thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    let url = format!("http://{v4}/v1");
    let key = fs::read_to_string(backend.room().join("client/api-key")).unwrap_or_default();
    let key = if key.is_empty() {
        succeed(backend.room(), &["env", "--home", "client", "--json"], "").json()["api_key"]
            .as_str()
            .unwrap()
            .to_owned()
    } else {
        key.trim().to_owned()
    };
    let reply = chat(&url, &key, &hello(false));
    let took = begun.elapsed();
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(activator.ready()["base_url"], url.as_str());
    assert!(activator.stop().success());
}

/// `llmtor serve` on a socket that stays here.
fn activated(backend: &Backend, socket: &TcpListener) -> Program {
    let mut serve = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    serve.args(["-c", script, SHIPPED, "serve", "--home", "client", "--transport", "loopback", "--json"]);
    serve.args(["--listen", &socket.local_addr().unwrap().to_string(), "--set", "server.grace_seconds=5"]);
    crate::support::program::confine(&mut serve, backend.room());
    serve.stdout(Stdio::piped()).stderr(Stdio::piped());
    Program::spawn_with_input(serve, OwnedFd::from(socket.try_clone().unwrap()).into())
}

/// How many daemons there were. An SDK's pause before it asks again is for what comes next; here that is seen.
#[derive(Default)]
struct Restarts(Mutex<u32>, Condvar);

impl Restarts {
    fn count(&self) -> u32 {
        *self.0.lock().unwrap()
    }

    fn begun(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    /// Returns once there is another daemon than the one counted.
    fn wait_beyond(&self, count: u32) {
        let (now, waited) = self
            .1
            .wait_timeout_while(self.0.lock().unwrap(), Duration::from_secs(30), |now| *now == count)
            .unwrap();
        assert!(!waited.timed_out(), "call refused, and daemon {now} goes on");
    }
}

/// What an SDK does: it asks again where that is free, twice.
fn ask_as_an_sdk(address: &str, key: &str, body: &str, restarts: &Restarts) -> Result<u32, String> {
    let mut last = String::new();
    for attempt in 1..=3 {
        let before = restarts.count();
        match once(address, key, body) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => return Ok(attempt),
            Ok(answer) if answer.contains("x-should-retry: true") => last = answer,
            Ok(answer) => return Err(answer),
            Err(error) => last = error.to_string(),
        }
        restarts.wait_beyond(before);
    }
    Err(last)
}

fn once(address: &str, key: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains("\r\n\r\n") { Ok(answer) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

#[test]
fn restarts_under_load_lose_no_call_and_no_token() {
    const CALLERS: usize = 4;
    const CALLS: usize = 12;
    let backend = Backend::start(60);
    backend.init(None);
    backend.stock_up(60);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut daemon = activated(&backend, &socket);
    let key = daemon.ready()["api_key"].as_str().unwrap().to_owned();
    let (done, retried, restarts) = (AtomicUsize::new(0), AtomicUsize::new(0), Restarts::default());
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (address, key, done, retried, restarts) = (&address, &key, &done, &retried, &restarts);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let body = hello(false).replace("morning", &format!("morning {caller} {call}"));
                    let attempts = ask_as_an_sdk(address, key, &body, restarts).unwrap();
                    retried.fetch_add(attempts as usize - 1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Stopped and started again in the midst of it, as an update does.
        for part in 1..=3 {
            while done.load(Ordering::SeqCst) < part * CALLERS * CALLS / 5 {
                thread::sleep(Duration::from_millis(5));
            }
            assert!(daemon.stop().success());
            daemon = activated(&backend, &socket);
            restarts.begun();
        }
    });
    let (stock, calls) = (backend.stock(), CALLERS * CALLS);
    assert_eq!(
        (&stock["spent"], &stock["available"], &stock["in_doubt"]),
        (&calls.into(), &(60 - calls).into(), &0.into()),
        "{stock}"
    );
    eprintln!("{calls} calls over three restarts, {} of them asked again", retried.into_inner());
}

#[test]
fn a_call_beyond_the_grace_period_is_told_that_the_same_request_resumes_it() {
    let backend = Backend::start(1);
    let gate = Gate::before(&backend.url);
    backend.init(Some(&gate.url));
    backend.stock_up(1);
    let mut serve = command(backend.room());
    serve.args(["serve", "--home", "client", "--listen", "127.0.0.1:0", "--transport", "loopback", "--json"]);
    serve.args(["--set", "server.grace_seconds=1"]);
    let mut daemon = Program::spawn(serve);
    let ready = daemon.ready();
    let text = |name: &str| ready[name].as_str().unwrap().to_owned();
    let (address, key) = (text("base_url").replace("http://", "").replace("/v1", ""), text("api_key"));
    let call = thread::spawn(move || once(&address, &key, &hello(false)));
    gate.arrived.recv().unwrap();
    assert!(daemon.stop().success());
    let answer = call.join().unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("x-should-retry: true"), "{answer}");
    drop(gate.open);
    let daemon = backend.serve();
    let again = chat(&daemon.base_url, &daemon.api_key, &hello(false));
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(backend.stock()["spent"], 1, "{MODEL}");
}
