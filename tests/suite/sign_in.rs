//! `llmtor login` as people do it: the real program, a real browser, a real identity provider.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::support::program::{self, Program, SHIPPED, finish};

const MODEL: &str = "gpt-4.1-mini";
/// What Chromium needs where there is no screen, and for root.
const HEADLESS: &str = "login.browser_args=[\"--headless=new\", \"--no-sandbox\", \"--disable-gpu\", \"--disable-dev-shm-usage\"]";
/// The same, with a port by which somebody else can act in the window: the test's hands.
const WITH_HANDS: &str = "login.browser_args=[\"--headless=new\", \"--no-sandbox\", \"--disable-gpu\", \"--disable-dev-shm-usage\", \
                          \"--remote-debugging-port=0\"]";
/// A browser at a time: each is several processes.
static TURN: Mutex<()> = Mutex::new(());

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

fn is_ready() -> bool {
    let installed = directory().join("node_modules/playwright-core").is_dir();
    let works = |program: &str| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let missing = if !installed {
        "`npm ci` was not run in tests/browser"
    } else if !works("node") {
        "there is no `node`"
    } else if !works("chromium") {
        "there is no `chromium`"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "a sign-in in a browser cannot be tested: {missing}");
    eprintln!("NOT CHECKED in a browser: {missing}");
    false
}

/// A backend that runs, in a room with space for clients.
struct House {
    room: tempfile::TempDir,
    base: String,
    _backend: Program,
}

impl House {
    fn open(sign_in: &str, environment: &[(&str, &str)]) -> Self {
        let room = tempfile::tempdir().unwrap();
        let settings = room.path().join("backend.toml");
        let text = format!(
            "[free_credits]\n\"{MODEL}\" = 5\n[models.\"{MODEL}\"]\nprovider = \"embedded\"\n{sign_in}"
        );
        std::fs::write(&settings, text).unwrap();
        let settings = settings.to_str().unwrap();
        let arguments = ["--home", "backend", "--json", "backend"];
        let serve = ["serve", "--listen", "127.0.0.1:0", "--config", settings];
        let mut backend = Program::start_in(room.path(), environment, &[&arguments[..], &serve].concat());
        let base = backend.ready()["base_url"].as_str().unwrap().to_owned();
        // What commands beside the running server go by.
        std::fs::copy(settings, room.path().join("backend/backend.toml")).unwrap();
        let house = Self { room, base, _backend: backend };
        let keys = house.llmtor(&["--home", "backend", "backend", "keys", "export"]);
        std::fs::write(house.room.path().join("keys.json"), keys).unwrap();
        house
    }

    fn llmtor(&self, arguments: &[&str]) -> Vec<u8> {
        program::run(self.room.path(), arguments, "").stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.llmtor(&[&["--json"], arguments].concat())).unwrap()
    }

    fn invite(&self, more: &[&str]) -> String {
        let made = self.json(&[&["--home", "backend", "backend", "invite", "create"], more].concat());
        made["code"].as_str().unwrap().to_owned()
    }

    /// `llmtor login` in `home`, with somebody at the browser.
    fn sign_in(&self, home: &str, more: &[&str], act: &Value) -> Value {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.room.path().join("keys.json");
        let mut arguments = vec!["--json", "--home", home, "--set", WITH_HANDS, "--log", "debug", "login"];
        arguments.extend(["--backend", &self.base, "--keys", keys.to_str().unwrap()]);
        arguments.extend(more);
        let mut order = json!({
            "program": SHIPPED,
            "arguments": arguments,
            "environment": {
                "PATH": std::env::var("PATH").unwrap(),
                "HOME": self.room.path(),
                "TMPDIR": self.room.path().join("tmp"),
            },
            "profiles": self.room.path().join(home).join("browser"),
        });
        for (name, value) in act.as_object().unwrap() {
            order[name] = value.clone();
        }
        let mut node = Command::new("node");
        node.arg(directory().join("sign-in.mjs")).current_dir(self.room.path());
        let output = finish(&mut node, &order.to_string());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The last line of what the program said for programs.
fn last(report: &Value) -> Value {
    let said = report["stdout"].as_str().unwrap();
    serde_json::from_str(said.lines().last().unwrap_or_else(|| panic!("nothing said: {report}"))).unwrap()
}

fn check_nothing_is_left(report: &Value) {
    assert_eq!(report["mode"], "700", "nobody else looks into the profile");
    assert_eq!(report["left"], json!([]), "the profile is gone");
    assert_eq!(report["listening"], false, "the browser is gone");
}

#[test]
fn an_invite_signs_somebody_in_from_nothing_in_one_command() {
    if !is_ready() {
        return;
    }
    let house = House::open("", &[]);
    let code = house.invite(&["alice", "--credits", &format!("{MODEL}=7")]);
    let report = house.sign_in("client", &["--first-tokens", "3"], &json!({ "act": "code", "code": code }));
    assert_eq!(report["exit"], 0, "{report}");
    check_nothing_is_left(&report);
    assert_eq!(report["violations"], json!([]), "accessibility");
    assert_eq!(report["focused"], json!(["code", "code"]), "whoever types at once types into the field");
    assert!(report["complaint"].as_str().unwrap().contains("unknown, used already, or expired"), "{report}");
    let done = last(&report);
    assert_eq!(done["name"], "alice", "{report}");
    assert_eq!(done["credits"][MODEL], 12);
    assert_eq!(done["abuse_obtained"], json!(["permanent", "transient"]));
    assert_eq!(done["minted"][0]["available"], 3);
    let said = format!("{}{}{}", report["stdout"], report["stderr"], report["argv"]);
    assert!(!said.contains("sessionID=") && !said.contains(&code), "{said}");

    let who = house.json(&["--home", "client", "whoami"]);
    assert_eq!((&who["name"], &who["credits"][MODEL]), (&json!("alice"), &json!(9)));
    assert_eq!(house.json(&["--home", "client", "status"])["session"], "held");
    assert_eq!(house.json(&["--home", "backend", "backend", "invite", "list"]), json!([]), "used up");

    // Somebody else's sign-in to the same account ends this session; the tokens stay.
    let again = house.invite(&["alice"]);
    let report = house.sign_in("other", &[], &json!({ "act": "code", "code": again }));
    assert_eq!(report["exit"], 0, "{report}");
    assert_eq!(last(&report)["credits"][MODEL], 9, "free credits are given once");
    let mut whoami = program::command(house.room.path());
    let refused = finish(whoami.args(["--home", "client", "whoami"]), "");
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("run `llmtor login` again"));
    let status = house.json(&["--home", "client", "status"]);
    assert_eq!((&status["session"], &status["models"][MODEL]["available"]), (&json!("expired"), &json!(3)));
    let text = String::from_utf8(house.llmtor(&["--home", "client", "status"])).unwrap();
    assert!(text.contains("session: expired; run `llmtor login`"), "{text}");
}

/// `oidc-provider`, as it comes from npm.
struct Provider {
    child: Child,
    issuer: String,
    /// Open as long as it runs: it ends when it cannot say something.
    _said: std::io::BufReader<ChildStdout>,
}

impl Provider {
    fn start() -> Self {
        use std::io::BufRead as _;
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .current_dir(directory())
            .env("PROVIDER_SECRET", SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        // It may have a word to say about its own settings first.
        while !line.starts_with('{') {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the provider does not start");
        }
        let first: Value = serde_json::from_str(&line).unwrap();
        Self { child, issuer: first["issuer"].as_str().unwrap().to_owned(), _said: said }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SECRET: &str = "a secret that is only for this test";

#[test]
fn a_provider_signs_somebody_in_and_its_own_cookies_are_left_alone() {
    if !is_ready() {
        return;
    }
    let provider = Provider::start();
    let sign_in = format!(
        "[sign_in.oidc.house]\nissuer = \"{}\"\nclient_id = \"llmtor\"\nclient_secret_env = \"HOUSE_SECRET\"\n\
         domains = [\"example.com\"]\n",
        provider.issuer
    );
    let house = House::open(&sign_in, &[("HOUSE_SECRET", SECRET)]);
    let report = house.sign_in("client", &[], &json!({ "act": "provider", "name": "alice" }));
    assert_eq!(report["exit"], 0, "{report}");
    check_nothing_is_left(&report);
    let first = report["pages"][0].as_str().unwrap();
    assert!(
        first.starts_with(&provider.issuer),
        "straight to the provider, as the deployed server does: {first}"
    );
    let done = last(&report);
    assert_eq!(
        (&done["name"], &done["email"]),
        (&json!("alice Example"), &json!("alice@example.com")),
        "{report}"
    );
    assert_eq!(done["credits"][MODEL], 5);
    // The session that works is the backend's, and not the cookie of that name which the provider set.
    assert_eq!(house.json(&["--home", "client", "whoami"])["name"], "alice Example");
}

#[test]
fn a_window_that_is_closed_and_a_ctrl_c_leave_nothing_and_say_what_to_do() {
    if !is_ready() {
        return;
    }
    let house = House::open("", &[]);
    house.invite(&[]);
    let report = house.sign_in("client", &[], &json!({ "act": "close" }));
    assert_eq!(report["exit"], 4, "{report}");
    check_nothing_is_left(&report);
    let failure = last(&report);
    assert!(failure["message"].as_str().unwrap().contains("was closed"), "{failure}");
    assert!(failure["advice"].as_str().unwrap().contains("llmtor login"), "{failure}");
    let report = house.sign_in("client", &[], &json!({ "act": "interrupt" }));
    assert_eq!(report["exit"], 130, "{report}");
    check_nothing_is_left(&report);
    assert_eq!(house.json(&["--home", "client", "status"])["session"], "none");
}

/// The processes that have `words` among their arguments.
#[cfg(target_os = "linux")]
fn processes(words: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(words))
    };
    all.filter(has).collect()
}

/// Sockets that `pid` has open and that wait for connections.
#[cfg(target_os = "linux")]
fn listening(pid: u32) -> usize {
    let sockets = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let sockets: Vec<_> = sockets.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap());
    let waits = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let socket = columns.get(9).map(|inode| std::path::PathBuf::from(format!("socket:[{inode}]")));
        columns.get(3) == Some(&"0A") && socket.is_some_and(|socket| sockets.contains(&socket))
    };
    tables.iter().flat_map(|table| table.lines()).filter(waits).count()
}

#[cfg(target_os = "linux")]
#[test]
fn no_other_account_finds_the_window_and_it_ends_with_a_llmtor_that_was_killed() {
    if !is_ready() {
        return;
    }
    let house = House::open("", &[]);
    house.invite(&[]);
    let keys = house.room.path().join("keys.json");
    let profiles = house.room.path().join("client/browser");
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = || {
        let mut login = program::command(house.room.path());
        login
            .args(["--home", "client", "--set", HEADLESS, "login", "--backend", &house.base, "--keys"])
            .arg(&keys);
        login.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let until = |what: &str, look: &dyn Fn() -> bool| {
        let since = std::time::Instant::now();
        while !look() {
            assert!(since.elapsed() < std::time::Duration::from_secs(60), "{what}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&profiles).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let users = |names: &[String]| -> Vec<u32> { names.iter().flat_map(|name| processes(name)).collect() };
    let is_open = || {
        let names = names();
        names.iter().any(|name| profiles.join(name).join("Default").exists()) && users(&names).len() > 3
    };

    let mut killed = begin();
    until("a window", &is_open);
    let first = names();
    for pid in users(&first) {
        assert_eq!(listening(pid), 0, "the browser waits for connections");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    until("the browser's end", &|| users(&first).is_empty());

    // What that left is gone with the next sign-in, and a closed terminal leaves nothing at all.
    let mut hung_up = begin();
    until("another window", &|| names() != first && is_open());
    let second = names();
    assert_eq!(second.len(), 1, "the profile of the one that was killed");
    let hangup = Command::new("kill").args(["-HUP", &hung_up.id().to_string()]).status().unwrap();
    assert!(hangup.success());
    hung_up.wait().unwrap();
    until("the browser's end", &|| users(&second).is_empty());
    assert!(names().is_empty(), "no profile is left");
    drop(turn);
}

#[test]
fn while_paused_no_window_opens_and_nothing_is_asked_for() {
    let room = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let set = ["--home", "h", "--set", "backend.identity_url=http://127.0.0.1:1", "--set", HEADLESS];
        finish(program::command(room.path()).args(set).args(arguments), "")
    };
    assert!(run(&["pause"]).status.success());
    // Each would otherwise get as far as its own complaint.
    for way in [&["--browser", "/bin/false"][..], &["--paste"], &["--session-stdin"]] {
        let output = run(&[&["login"], way].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{way:?}: {said}");
        assert!(said.contains("llmtor resume"), "{way:?}: {said}");
        assert!(!said.contains("window") && !said.contains("127.0.0.1:1"), "{way:?}: {said}");
    }
    assert!(!room.path().join("h/browser").exists(), "no profile was made");
}

#[test]
fn what_stands_in_the_way_of_a_window_is_said_with_the_way_around_it() {
    let room = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = finish(program::command(room.path()).args(arguments), "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in words {
            assert!(said.contains(word), "{word} is not in {said}");
        }
        assert!(!said.contains("window is open"), "none is: {said}");
        output.status.code()
    };
    let url = "backend.identity_url=http://127.0.0.1:1";
    let home = ["--home", "h"];
    let with = |more: &[&'static str]| [&home[..], more].concat();
    assert_eq!(refused(&with(&["login"]), &["which backend", "login --backend URL --keys FILE"]), Some(2));
    assert!(!room.path().join("h").exists(), "nothing is made");
    let set = |more: &[&'static str]| [&home[..], &["--set", url], more].concat();
    assert_eq!(refused(&set(&["login", "--browser", "/nothing"]), &["/nothing", "--paste"]), Some(2));
    assert_eq!(refused(&set(&["login", "--browser", "/bin/true"]), &["no screen", "--paste"]), Some(2));
    let headless = ["--set", "login.browser_args=[\"--headless=new\", \"--no-sandbox\"]"];
    let args = [&set(&[])[..], &headless, &["login", "--browser", "/bin/false"]].concat();
    assert_eq!(refused(&args, &["/bin/false does not start", "--paste"]), Some(1));
    let tor = ["--set", "identity.transport=tor", "--set", "backend.identity_url=https://backend.example"];
    let args = [&home[..], &tor, &["login"]].concat();
    assert_eq!(refused(&args, &["goes through Tor", "--paste"]), Some(2));
    let left = std::fs::read_dir(room.path().join("h/browser")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no profile is left");
}

#[test]
fn by_hand_each_step_is_said_and_the_session_is_read_from_where_it_is_pasted() {
    let house = House::open("", &[]);
    let add = ["--home", "backend", "backend", "account", "add", "bob", "--credits", "gpt-4.1-mini=3"];
    let session = house.json(&add)["session"].as_str().unwrap().to_owned();
    let keys = house.room.path().join("keys.json");
    let arguments =
        ["--home", "client", "login", "--paste", "--backend", &house.base, "--keys", keys.to_str().unwrap()];
    let output = finish(program::command(house.room.path()).args(arguments), &session);
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    for words in ["/api/v1/users/signin?redirect=", "/api/v1/me", "Firefox", "Safari", "configured"] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    for words in ["logged in as bob", "credits: gpt-4.1-mini 8", "abuse tokens fetched", "next: llmtor serve"]
    {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(!said.contains(&session) && !told.contains(&session));
}
