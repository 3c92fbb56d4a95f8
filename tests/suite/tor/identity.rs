//! The identity plane through Tor: login, account and issuance, from commands and in the daemon.

use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::front::{Connection, Front, Manner};
use crate::support::house::{House, MODEL};
use crate::support::program::{self, Program};
use crate::support::tornet::NOWHERE;
use crate::support::tornet::{self, TorNetwork};

/// A backend behind a TLS front whose name only exits can resolve, and a client that trusts its authority as it would the
/// platform's.
struct World {
    house: House,
    front: Front,
    settings: Vec<String>,
    roots: PathBuf,
}

impl World {
    fn new(network: &TorNetwork, credits: usize) -> Self {
        let house = House::open(credits, "warn");
        let name = format!("identity-{}.test", uuid::Uuid::new_v4().simple());
        let front = Front::start(&network.doors(), &name, house.address());
        network.resolver().tell(&name);
        let (roots, arti) = (house.room().join("roots.pem"), house.room().join("arti.toml"));
        std::fs::write(&roots, front.authority()).unwrap();
        std::fs::write(&arti, network.arti_toml()).unwrap();
        let settings = vec![
            "identity.transport=tor".to_owned(),
            format!("tor.arti_config={}", arti.display()),
            format!("tls.extra_roots={}", roots.display()),
        ];
        let world = Self { house, front, settings, roots };
        let url = format!("https://{name}:{}", world.front.port());
        world.succeed(&["init", "--backend", &url, "--keys", "keys.json"], "");
        world
    }

    fn arguments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let settings = self.settings.iter().flat_map(|setting| ["--set", setting]);
        ["--home", "client", "--json"].into_iter().chain(settings).chain(rest.iter().copied()).collect()
    }

    fn run(&self, rest: &[&str], input: &str) -> Output {
        let mut command = program::command(self.house.room());
        program::finish(command.args(self.arguments(rest)).env("SSL_CERT_FILE", &self.roots), input)
    }

    fn succeed(&self, rest: &[&str], input: &str) -> serde_json::Value {
        let output = self.run(rest, input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{rest:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn credits(&self) -> serde_json::Value {
        self.succeed(&["account"], "")["credits"][MODEL].clone()
    }

    fn serve(&self) -> Program {
        let roots = self.roots.to_str().unwrap();
        let arguments = self.arguments(&["serve", "--listen", "127.0.0.1:0"]);
        Program::start_in(self.house.room(), &[("SSL_CERT_FILE", roots)], &arguments)
    }
}

fn text(connection: &Connection) -> String {
    String::from_utf8_lossy(&connection.request).into_owned()
}

#[test]
fn login_account_and_minting_go_through_exits_from_commands_and_from_the_daemon() {
    let Some(network) = tornet::using() else { return };
    let world = World::new(&network, 6);
    let session = world.house.session.clone();
    world.succeed(&["login", "--session-stdin"], &session);
    assert_eq!(world.credits(), 6);
    world.succeed(&["abuse", "setup"], "");
    world.succeed(&["tokens", "mint", "--model", MODEL, "--count", "2", "--now"], "");
    assert_eq!(world.credits(), 4);

    let mut daemon = world.serve();
    let ready = daemon.ready();
    world.succeed(&["tokens", "mint", "--model", MODEL, "--count", "2", "--now"], "");
    assert_eq!(world.credits(), 2);
    let client = crate::support::house::Daemon {
        program: daemon,
        api_key: ready["api_key"].as_str().unwrap().to_owned(),
        base_url: ready["base_url"].as_str().unwrap().to_owned(),
    };
    assert_eq!(client.ask("Is anybody there?").status, 200);
    let before = world.front.calls().len();
    world.succeed(&["tor", "new-identity"], "");
    assert_eq!(world.credits(), 2);

    let calls = world.front.calls();
    assert!(calls.len() > before, "a new identity used an old connection");
    assert!(
        calls.iter().all(|call| network.exit_at(call.door).is_some()),
        "somebody else than an exit dialled"
    );
    let prompts: Vec<_> = calls.iter().filter(|call| text(call).contains("/llm-proxy")).collect();
    assert_eq!(prompts.len(), 1);
    assert!(!text(prompts[0]).contains(&session), "a prompt shared the account's connection");
    assert!(calls.len() - prompts.len() >= 5, "each command dials for itself");
    for call in calls.iter().filter(|call| !text(call).contains("/llm-proxy")) {
        assert!(text(call).to_ascii_lowercase().contains(&format!("cookie: sessionid={session}")));
    }
}

#[test]
fn a_certificate_that_the_platform_does_not_trust_is_refused_behind_an_exit_too() {
    let Some(network) = tornet::using() else { return };
    let world = World::new(&network, 1);
    world.front.treat_all(Manner::WrongCertificate);
    let output = world.run(&["login", "--session-stdin"], &world.house.session);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("the backend's certificate was refused") && said.contains("Nothing was sent"),
        "{said}"
    );
    assert!(!world.front.connections().is_empty(), "it was not asked at all");
    assert!(world.front.calls().is_empty(), "something was said");
}

#[test]
fn while_tor_cannot_start_nothing_is_dialled_and_the_command_says_so() {
    let house = House::open(1, "warn");
    // An address that a direct dialler reaches here and that is none of Tor's business to refuse.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}:{}", IpAddr::from([0, 0, 0, 0]), listener.local_addr().unwrap().port());
    let dialled = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&dialled);
    std::thread::spawn(move || {
        while listener.accept().is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    std::fs::write(house.room().join("nowhere.toml"), NOWHERE).unwrap();
    std::fs::write(house.room().join("session"), &house.session).unwrap();
    let nowhere = format!("tor.arti_config={}", house.room().join("nowhere.toml").display());
    let login = |transport: &str| {
        let transport = format!("identity.transport={transport}");
        let mut arguments = vec!["--home", "client", "--json", "login", "--session-stdin"];
        for setting in [&transport, &nowhere, "tor.bootstrap_seconds=2"] {
            arguments.extend(["--set", setting]);
        }
        program::command(house.room())
            .args(arguments)
            .stdin(std::fs::File::open(house.room().join("session")).unwrap())
            .output()
            .unwrap()
    };
    program::run(house.room(), &["--home", "client", "init", "--backend", &url, "--keys", "keys.json"], "");
    let begun = Instant::now();
    let output = login("tor");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("Tor is not ready") && said.contains("nothing was sent"), "{said}");
    assert!(!said.contains(&house.session));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(dialled.load(Ordering::SeqCst), 0, "it was dialled");
    assert!(!house.home("client").join("session.sealed").exists());

    // The listener would have noticed.
    login("direct");
    assert!(dialled.load(Ordering::SeqCst) > 0);
}
