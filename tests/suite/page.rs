//! The local page: in a real browser, and by whoever has no business there.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

mod doors;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::house::{Daemon, House};
use super::support::program;

const VIEWS: [&str; 6] = ["", "calls", "rows", "leaving", "settings", "workings"];

struct Stage {
    house: House,
    daemon: Daemon,
}

impl Stage {
    fn set() -> Self {
        let mut house = House::open(40, "info");
        let anonymous = format!("http://{}", house.address());
        house.furnish("client", &anonymous, 20);
        let daemon = house.serve("client", &[]);
        Self { house, daemon }
    }

    fn link(&self) -> Link {
        let report = self.house.report("client", &["open", "--print"]);
        Link::of(report["link"].as_str().unwrap().to_owned())
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.house.home("client").join("config.toml")).unwrap()
    }
}

struct Link {
    whole: String,
    address: SocketAddr,
    path: String,
}

/// A session: the page's path, and the cookie.
struct Session {
    place: String,
    cookie: String,
}

impl Link {
    fn of(whole: String) -> Self {
        let (address, path) = whole.trim_start_matches("http://").split_once('/').unwrap();
        Self { address: address.parse().unwrap(), path: format!("/{path}"), whole }
    }

    /// Status line, headers and body.
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
            head.extend(["Host: ", &self.address.to_string(), "\r\n"]);
        }
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n", body]);
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn get(&self, path: &str, headers: &[&str]) -> String {
        self.ask("GET", path, headers, "")
    }

    fn enter(&self) -> Session {
        let answer = self.get(&self.path, &[]);
        assert_eq!(status(&answer), 303, "{answer}");
        assert!(answer.contains("referrer-policy: no-referrer"), "{answer}");
        let value = |name: &str| {
            let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
            line.split_once(": ").unwrap().1.trim().to_owned()
        };
        let cookie = value("set-cookie");
        let place = value("location");
        for attribute in ["HttpOnly", "SameSite=Strict", &format!("Path={place}")] {
            assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"));
        Session { place, cookie: format!("Cookie: {}", cookie.split(';').next().unwrap()) }
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Nothing of what only the user may see, and no way in.
fn is_shut(answer: &str) -> bool {
    matches!(status(answer), 403 | 421)
        && !answer.to_ascii_lowercase().contains("set-cookie")
        && !["At a glance", "gpt-4.1", "name=\"form\""].iter().any(|word| answer.contains(word))
}

#[test]
fn every_view_passes_in_a_real_browser_and_other_pages_get_nothing() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let is_there =
        here.join("node_modules/playwright-core").exists() && Path::new("/usr/bin/chromium").exists();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "the browser or its driver is missing");
        eprintln!("SKIPPED: the page in a browser (chromium, or npm ci in tests/browser)");
        return;
    }
    let stage = Stage::set();
    stage.house.report("client", &["account"]);
    for question in ["one", "two"] {
        assert_eq!(stage.daemon.ask(question).status, 200);
    }
    let mut command = Command::new("node");
    program::confine(&mut command, stage.house.room());
    // One of the links in the way that `llmtor open` hands it over.
    let (path, opened) = program::opener(stage.house.room());
    let mut open = program::command(stage.house.room());
    open.env("PATH", path).args(stage.house.arguments("client", &["open"]));
    assert!(program::finish(&mut open, "").status.success());
    let slip = std::fs::read_to_string(&opened).unwrap();
    command.arg(here.join("page.mjs")).args([
        stage.link().whole,
        stage.link().whole,
        format!("file://{slip}"),
    ]);
    command.args(std::env::var_os("LLMTOR_TEST_PICTURES"));
    let output = program::finish(&mut command, "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    // What was saved there is in the file, beside what was there.
    let config = stage.config();
    assert!(config.contains("privacy = \"strong\"") && config.contains("identity_url"), "{config}");
}

#[test]
fn only_the_one_who_has_the_cookie_and_comes_from_the_page_itself_gets_anything() {
    let stage = Stage::set();
    let link = stage.link();
    // Looked at, the link is as good as before.
    let looked = link.ask("HEAD", &link.path, &[], "");
    assert!(status(&looked) == 405 && !looked.contains("set-cookie"), "{looked}");
    let session = link.enter();
    let (place, cookie) = (session.place.as_str(), session.cookie.as_str());
    for view in VIEWS {
        let path = format!("{place}{view}");
        let answer = link.get(&path, &[cookie]);
        assert_eq!(status(&answer), 200, "{answer}");
        for header in [
            "content-security-policy: default-src 'none'",
            "cache-control: no-store",
            "referrer-policy: same-origin",
        ] {
            assert!(answer.contains(header), "{view}: {header}");
        }
        assert!(!answer.contains("access-control"));
        for foreign in [
            &[][..],
            &["Cookie: llmtor-page-1=0"],
            &[cookie, "Host: evil.example"],
            &[cookie, "Host: 127.0.0.1:1"],
            &[cookie, "Sec-Fetch-Site: cross-site"],
            &[cookie, "Sec-Fetch-Site: same-site"],
            &[cookie, "Origin: http://127.0.0.1:1"],
        ] {
            assert!(is_shut(&link.get(&path, foreign)), "{view} {foreign:?}");
        }
    }
    // The link is used up, and a guess is none.
    assert!(is_shut(&link.get(&link.path, &[])));
    assert!(is_shut(&link.get("/enter?ticket=0", &[])) && is_shut(&link.get("/enter", &[])));

    let settings = link.get(&format!("{place}settings"), &[cookie]);
    let token = settings.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let (own, path) = (format!("Origin: http://{}", link.address), format!("{place}settings"));
    let form = |token: &str| format!("form={token}&privacy=frugal");
    let before = stage.config();
    for (headers, body) in [
        (vec![own.as_str()], form(token)),
        (vec![cookie], form(token)),
        (vec![cookie, "Origin: http://127.0.0.1:1"], form(token)),
        (vec![cookie, own.as_str()], form("0")),
        (vec![cookie, own.as_str()], "privacy=frugal".to_owned()),
    ] {
        assert_eq!(status(&link.ask("POST", &path, &headers, &body)), 403, "{headers:?}");
        assert_eq!(stage.config(), before);
    }
    assert_eq!(status(&link.ask("POST", &path, &[cookie, &own], &form(token))), 303);
    assert!(stage.config().contains("privacy = \"frugal\""));
}

#[test]
fn nothing_of_a_call_s_content_is_on_any_view_or_among_the_numbers() {
    let stage = Stage::set();
    let reply = stage.daemon.ask("canaryPagePrompt51");
    assert!(reply.body.contains("canaryPagePrompt51"), "the model echoes: {}", reply.body);
    // So that the account's side has something to list.
    stage.house.report("client", &["account"]);
    let link = stage.link();
    let session = link.enter();
    let mut shown = String::new();
    for view in VIEWS {
        shown += &link.get(&format!("{}{view}", session.place), &[&session.cookie]);
    }
    // The call is there, its content is not; neither is the key.
    assert!(shown.contains("answered") && shown.contains("content-length: 4096"));
    assert!(shown.contains("GET /api/v1/me<") && shown.contains("your account<"), "{shown}");
    let numbers = stage.daemon.get("/metrics", &[]);
    assert_eq!(numbers.status, 200);
    assert!(numbers.body.contains("llmtor_calls_total{outcome=\"answered\"} 1"), "{}", numbers.body);
    for word in ["canaryPagePrompt51", &stage.daemon.api_key, &stage.house.session] {
        assert!(!shown.contains(word) && !numbers.body.contains(word));
    }
    assert!(!numbers.body.contains("gpt"));
}

#[test]
fn the_numbers_are_for_those_with_the_key_and_are_open_metrics() {
    let stage = Stage::set();
    assert_eq!(stage.daemon.get("/metrics", &[("Authorization", "Bearer wrong")]).status, 401);
    assert_eq!(stage.daemon.get("/metrics", &[("Origin", "http://evil.example")]).status, 403);
    let reply = stage.daemon.get("/metrics", &[]);
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let mut families = Vec::new();
    let lines: Vec<&str> = reply.body.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    for line in &lines[..lines.len() - 1] {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            families.push(rest.split_once(' ').unwrap().0.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().unwrap();
            assert!(families.iter().any(|family| name.starts_with(family.as_str())), "{line}");
            if let Some(labels) = series.split_once('{') {
                let allowed = ["outcome=\"", "state=\"", "le=\""];
                assert!(allowed.iter().any(|label| labels.1.starts_with(label)), "{line}");
            }
        }
    }
    assert!(families.len() >= 5, "{families:?}");
}

#[test]
fn the_link_is_handed_to_the_browser_where_nobody_else_can_read_it() {
    let stage = Stage::set();
    let (path, opened) = program::opener(stage.house.room());
    let mut open = program::command(stage.house.room());
    open.env("PATH", path).args(stage.house.arguments("client", &["open"]));
    let output = program::finish(&mut open, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !opened.exists() {
        assert!(Instant::now() < deadline, "nothing was opened");
        std::thread::sleep(Duration::from_millis(20));
    }
    let argument = std::fs::read_to_string(&opened).unwrap();
    let home = stage.house.home("client").canonicalize().unwrap();
    assert!(Path::new(&argument).canonicalize().unwrap().starts_with(home), "{argument}");
    let link = Link::of(program::link_in(&argument));
    let (_, ticket) = link.whole.split_once("ticket=").unwrap();
    assert!(!argument.contains(ticket));
    link.enter();
    // Nothing is left of it that is good for anything.
    assert!(is_shut(&link.get(&link.path, &[])));
}

/// Sends two requests, the second unfinished, and says that nothing more will come.
#[cfg(target_os = "linux")]
const HALF_CLOSED: &str = r#"
use IO::Socket::INET;
my ($address, $port, $path) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $asked = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 20) or die 'not reached';
$asked->autoflush(1);
print $asked "GET $path HTTP/1.1\r\nHost: $address:$port\r\n\r\nGET /x";
shutdown($asked, 1);
print while <$asked>;
"#;

/// Opens very many connections, says so, and says nothing on them until it is told to end.
#[cfg(target_os = "linux")]
const CROWD: &str = r#"
use IO::Socket::INET;
my ($address, $port) = @ARGV;
my @held = map { IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 20) } 1..300;
$| = 1;
print scalar(grep { defined } @held), "\n";
<STDIN>;
"#;

/// Needs root, to be somebody else; and Linux, which tells whose a connection is.
#[cfg(target_os = "linux")]
#[test]
fn another_account_of_this_machine_gets_nothing_and_takes_nothing_away() {
    use std::os::unix::fs::MetadataExt as _;

    let stage = Stage::set();
    let link = stage.link();
    if std::fs::metadata(stage.house.home("client")).unwrap().uid() != 0 {
        assert!(std::env::var_os("CI").is_none(), "only root can be somebody else");
        eprintln!("SKIPPED: only root can be somebody else");
        return;
    }
    let nobody = |arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "-s",
                "-i",
                "--max-time",
                "20",
            ])
            .args(arguments)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    // Even with the link.
    let (reached, answer) = nobody(&[&link.whole]);
    assert!(reached && is_shut(&answer) && answer.contains("another account"), "{answer}");
    // Nor by holding on to every place: their number costs its owner no time.
    let mut crowd = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "perl", "-e", CROWD])
        .args([link.address.ip().to_string(), link.address.port().to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    let mut said = std::io::BufReader::new(crowd.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut held).unwrap();
    assert_eq!(held, "300\n");
    let begun = Instant::now();
    assert_eq!(status(&link.get("/style.css", &[])), 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    drop(crowd.stdin.take());
    assert!(crowd.wait().unwrap().success());
    // Nor by having said all before it is looked whose the connection is: what follows keeps it from being read to its end.
    let mut refused = 0;
    for _ in 0..20 {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "perl", "-e", HALF_CLOSED])
            .args([link.address.ip().to_string(), link.address.port().to_string(), link.path.clone()])
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && (answer.is_empty() || is_shut(&answer)), "{answer}{said}");
        refused += u32::from(answer.contains("another account"));
    }
    assert!(refused > 0, "nobody was ever answered");
    // It is as good as before, and the session that it opens is no use to anybody else either.
    let session = link.enter();
    let page = format!("http://{}{}", link.address, session.place);
    let (reached, answer) = nobody(&["-H", &session.cookie, &page]);
    assert!(reached && is_shut(&answer), "{answer}");
    assert_eq!(status(&link.get(&session.place, &[&session.cookie])), 200);
    let socket = stage.house.home("client").join("control.sock");
    let (reached, answer) = nobody(&["--unix-socket", socket.to_str().unwrap(), "http://x/"]);
    assert!(!reached && answer.is_empty(), "{answer}");
}
