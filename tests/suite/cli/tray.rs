//! The tray over D-Bus: a private bus, a panel of the test's own, a display that nobody sees.
//!
//! Needs `dbus-daemon`, `Xvfb` and `xclip` (Debian: `dbus`, `xvfb`, `xclip`). Where they are missing the test says so
//! instead, except in CI.

#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    clippy::type_complexity,
    clippy::unused_self,
    clippy::used_underscore_binding,
    reason = "the interfaces are the desktop's"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zbus::zvariant::{Dict, OwnedValue, Structure, Value};
use zbus::{Connection, Proxy, interface};

use super::bench::{Backend, MODEL, hello, llmtor, succeed};
use crate::support::program::{self, Program, command};

const PROGRAMS: [&str; 3] = ["dbus-daemon", "Xvfb", "xclip"];
const WITHIN: Duration = Duration::from_secs(20);

/// A child that goes with the test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first line of a child's standard output.
fn first_line(command: &mut Command) -> (Kept, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Kept(child), line.trim().to_owned())
}

fn can_run() -> bool {
    let is_there = |program: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    let missing: Vec<_> = PROGRAMS.iter().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "the tray cannot be tested without {missing:?}");
    eprintln!("SKIPPED: the tray cannot be tested without {missing:?}");
    false
}

/// What a panel's collector of icons is told.
struct Watcher(mpsc::UnboundedSender<String>);

#[interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String) {
        let _ = self.0.send(service);
    }

    fn register_status_notifier_host(&self, _service: String) {}

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

/// What a desktop is asked to show.
struct Notifications(Arc<Mutex<Vec<String>>>);

#[interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    fn notify(
        &self,
        _app: String,
        _replaces: u32,
        _icon: String,
        summary: String,
        body: String,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _expires: i32,
    ) -> u32 {
        self.0.lock().unwrap().push(format!("{summary}: {body}"));
        1
    }

    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".into()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("test".into(), "test".into(), "1".into(), "1.2".into())
    }
}

/// One row of the menu.
#[derive(Clone, Debug, Default)]
struct Row {
    id: i32,
    label: String,
    checked: bool,
    enabled: bool,
}

struct Menu<'a>(Proxy<'a>);

impl Menu<'_> {
    async fn rows(&self) -> Vec<Row> {
        let asked = (0i32, -1i32, Vec::<String>::new());
        let (_revision, (_, _, children)): (u32, (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>)) =
            self.0.call("GetLayout", &asked).await.unwrap();
        children.iter().map(row).collect()
    }

    /// Waits for an entry of this beginning.
    async fn entry(&self, label: &str) -> Row {
        let deadline = Instant::now() + WITHIN;
        loop {
            let rows = self.rows().await;
            if let Some(found) = rows.iter().find(|row| row.label.starts_with(label)) {
                return found.clone();
            }
            assert!(Instant::now() < deadline, "no `{label}` in {rows:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn click(&self, label: &str) {
        self.try_click(label).await.unwrap();
    }

    async fn try_click(&self, label: &str) -> zbus::Result<()> {
        let row = self.entry(label).await;
        assert!(row.enabled, "{row:?}");
        self.0.call::<_, _, ()>("Event", &(row.id, "clicked", Value::from(0i32), 0u32)).await
    }
}

fn row(child: &OwnedValue) -> Row {
    let fields = child.downcast_ref::<Structure<'_>>().unwrap();
    let [id, properties, ..] = fields.fields() else { panic!("no item: {fields:?}") };
    let properties = properties.downcast_ref::<Dict<'_, '_>>().unwrap();
    let text = |name: &str| properties.get::<&str, String>(&name).ok().flatten().unwrap_or_default();
    Row {
        id: id.downcast_ref::<i32>().unwrap(),
        label: text("label"),
        checked: properties.get::<&str, i32>(&"toggle-state").ok().flatten() == Some(1),
        enabled: properties.get::<&str, bool>(&"enabled").ok().flatten().unwrap_or(true),
    }
}

/// Somebody signs out elsewhere.
#[expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]
fn end_session(backend: &Backend) {
    let authority = backend.url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).unwrap();
    let cookie = &backend.session;
    write!(
        stream,
        "POST /api/v1/users/signout HTTP/1.1\r\nHost: {authority}\r\nCookie: sessionID={cookie}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Clock ticks of a process so far, of 10 ms each.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn daemon_pid(room: &Path) -> Option<u32> {
    let status = succeed(room, &["status", "--home", "client", "--json"], "").json();
    status["daemon"]["pid"].as_u64().map(|pid| u32::try_from(pid).unwrap())
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
}

/// Ends the daemon that the tray has started, whatever becomes of the test.
struct Ended<'a>(&'a Path);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if let Ok(text) = fs::read_to_string(self.0.join("client/lock")) {
            let _ = Command::new("kill").args(["-KILL", text.trim()]).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one tray, entry by entry")]
async fn the_icon_is_registered_and_each_entry_of_its_menu_has_its_effect() {
    if !can_run() {
        return;
    }
    let backend = Backend::start(3);
    backend.init(None);
    backend.stock_up(2);
    let room = backend.room();
    let settings = room.join("client/config.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(
        &settings,
        format!("{text}\n[server]\nlisten = \"127.0.0.1:0\"\n\n[anonymous]\ntransport = \"loopback\"\n"),
    )
    .unwrap();

    let address = format!("unix:path={}", room.join("bus").display());
    let mut bus = Command::new("dbus-daemon");
    bus.args(["--session", "--nofork", "--print-address", "--address", &address]);
    let (_bus, address) = first_line(&mut bus);
    let mut display = Command::new("Xvfb");
    display.args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]);
    let (_display, number) = first_line(&mut display);
    let display = format!(":{number}");

    let (registered, mut items) = mpsc::unbounded_channel();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let panel = zbus::connection::Builder::address(address.as_str())
        .unwrap()
        .serve_at("/StatusNotifierWatcher", Watcher(registered))
        .unwrap()
        .serve_at("/org/freedesktop/Notifications", Notifications(notices.clone()))
        .unwrap()
        .name("org.kde.StatusNotifierWatcher")
        .unwrap()
        .name("org.freedesktop.Notifications")
        .unwrap()
        .build()
        .await
        .unwrap();

    let (path, opened) = program::opener(room);

    let mut tray = command(room);
    tray.args(["tray", "--home", "client", "--log", "info"])
        .env("DBUS_SESSION_BUS_ADDRESS", &address)
        .env("DISPLAY", &display)
        .env("PATH", path);
    let ended = Ended(room);
    let mut tray = Program::spawn(tray);
    let service = tokio::time::timeout(WITHIN, items.recv()).await.expect("registered").unwrap();

    let item = item(&panel, &service).await;
    assert_eq!(item.get_property::<String>("Id").await.unwrap(), "llmtor");
    let icons: Vec<(i32, i32, Vec<u8>)> = item.get_property("IconPixmap").await.unwrap();
    assert_eq!((icons.len(), icons[0].2.len()), (1, 32 * 32 * 4));
    let menu_path: zbus::zvariant::OwnedObjectPath = item.get_property("Menu").await.unwrap();
    let menu = Menu(
        Proxy::new(&panel, item.destination().to_owned(), menu_path, "com.canonical.dbusmenu").await.unwrap(),
    );

    // It has started a daemon, and shows it.
    menu.entry("Ready").await;
    menu.entry(&format!("{MODEL}: 2 tokens")).await;
    menu.entry("Way out: loopback").await;
    let daemon = daemon_pid(room).expect("a daemon");

    // The clipboard.
    let clipboard = || {
        let mut xclip = Command::new("xclip");
        let pasted = xclip.args(["-o", "-selection", "clipboard"]).env("DISPLAY", &display).output().unwrap();
        String::from_utf8(pasted.stdout).unwrap()
    };
    let env = succeed(room, &["env", "--home", "client"], "").stdout;
    menu.click("Copy base URL").await;
    until("a base URL on the clipboard", || {
        let pasted = clipboard();
        pasted.starts_with("http://127.0.0.1:") && env.contains(&pasted)
    })
    .await;
    menu.click("Copy key").await;
    until("the key on the clipboard", || {
        let pasted = clipboard();
        pasted.starts_with("sk-") && env.contains(&pasted)
    })
    .await;

    // Pause and resume; the icon changes with it.
    menu.click("Pause").await;
    menu.entry("Paused: nothing leaves").await;
    let paused: Vec<(i32, i32, Vec<u8>)> = item.get_property("IconPixmap").await.unwrap();
    let status = succeed(room, &["status", "--home", "client", "--json"], "").json();
    assert_eq!(status["passage"], "paused");
    menu.click("Resume").await;
    menu.entry("Ready").await;
    let ready: Vec<(i32, i32, Vec<u8>)> = item.get_property("IconPixmap").await.unwrap();
    assert!(paused != ready, "the same icon for two states");
    menu.click("New identity").await;

    let followed = || fs::read_to_string(&opened).unwrap_or_default();
    menu.click("Open page").await;
    until("the page opened", || followed().contains("llmtor-open-")).await;
    let link = program::link_in(&followed());
    assert!(link.starts_with("http://127.0.0.1:") && link.contains("/enter?ticket="), "{link}");
    menu.click("Open log folder").await;
    until("a folder opened", || followed().ends_with("client") || followed().ends_with("client/logs")).await;

    let autostart = room.join(".config/autostart/llmtor-tray.desktop");
    assert!(!menu.entry("Start at login").await.checked);
    menu.click("Start at login").await;
    until("an autostart file", || autostart.exists()).await;
    let entry = fs::read_to_string(&autostart).unwrap();
    let home = room.join("client");
    assert!(entry.contains(&format!(" tray --home {}", home.display())), "{entry}");
    assert!(menu.entry("Start at login").await.checked);
    menu.click("Start at login").await;
    until("no autostart file", || !autostart.exists()).await;

    // A notification for what needs the user, and once.
    end_session(&backend);
    llmtor(room, &[], &["account", "--home", "client"], "").refused(4, &["llmtor login"]);
    until("a notification", || notices.lock().unwrap().iter().any(|notice| notice.contains("llmtor login")))
        .await;

    // Idle, neither computes anything to speak of.
    let before = (ticks(tray.pid()), ticks(daemon));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (of_tray, of_daemon) = (ticks(tray.pid()) - before.0, ticks(daemon) - before.1);
    assert!(of_tray <= 2 && of_daemon <= 4, "ticks: tray {of_tray}, daemon {of_daemon}");
    assert_eq!(notices.lock().unwrap().len(), 1);

    // A daemon that ends is shown, and started again.
    kill(daemon);
    menu.entry("llmtor is not running").await;
    menu.click("Start llmtor").await;
    menu.entry("Ready").await;
    let again = daemon_pid(room).expect("another daemon");
    assert_ne!(again, daemon);

    // Quitting closes the icon alone.
    // It may be gone before it has said that it heard.
    let _ = menu.try_click("Quit").await;
    let deadline = Instant::now() + WITHIN;
    while !tray.ended() {
        assert!(Instant::now() < deadline, "the tray did not quit");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(tray.status().unwrap().success());
    assert_eq!(daemon_pid(room), Some(again));
    let said = String::from_utf8(tray.stderr()).unwrap();
    for secret in ["sk-", hello(false).as_str()] {
        assert!(!said.contains(secret), "{said}");
    }
    drop(ended);
}

/// The item that was registered: by the name of its service, or by its path on the caller's connection.
async fn item<'a>(panel: &'a Connection, service: &str) -> Proxy<'a> {
    let interface = "org.kde.StatusNotifierItem";
    assert!(!service.starts_with('/'), "an item without a name: {service}");
    // Its changes are told by signals of its own, which no cache knows.
    zbus::proxy::Builder::new(panel)
        .destination(service.to_owned())
        .unwrap()
        .path("/StatusNotifierItem")
        .unwrap()
        .interface(interface)
        .unwrap()
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap()
}

#[test]
fn without_a_desktop_the_tray_says_what_to_do_instead() {
    let room = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:path={}", room.path().join("none").display());
    let environment = [("DBUS_SESSION_BUS_ADDRESS", nowhere.as_str())];
    llmtor(room.path(), &environment, &["tray", "--home", "client", "--no-start"], "")
        .refused(1, &["no desktop session", "llmtor status"]);
}
