//! The backend's onion service, hosted in process.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use llmtor::clock::SystemClock;
use llmtor::tor::{ConnectErrorKind, Isolation, Limits, Settings, Tor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

use crate::support::house::House;
use crate::support::program::Program;
use crate::support::tor_world::CLIENT;
use crate::support::tornet;
use crate::support::tornet::NOWHERE;

/// Onion services are slow to meet.
const PATIENCE: Duration = Duration::from_secs(60);

/// The house's backend again, at the same address and with an onion service on the network of `arti`.
fn host(house: &mut House, arti: &str, settings: &str) -> String {
    if !house.backend.ended() {
        assert!(house.backend.stop().success());
    }
    std::fs::write(house.room().join("arti.toml"), arti).unwrap();
    let file = house.home("backend").join("backend.toml");
    let arti = house.room().join("arti.toml");
    if !std::fs::read_to_string(&file).unwrap().contains("arti_config") {
        let text = std::fs::read_to_string(&file).unwrap();
        let text = format!("{settings}\n{text}\n[tor]\narti_config = \"{}\"\n", arti.display());
        std::fs::write(&file, text).unwrap();
    }
    let listen = house.address().to_string();
    let arguments = ["backend", "serve", "--home", "backend", "--onion", "--listen", &listen, "--json"];
    house.backend = Program::start(house.room(), &arguments);
    let ready = house.backend.ready();
    assert_eq!(ready["base_url"], format!("http://{listen}"));
    let url = ready["onion_url"].as_str().unwrap().to_owned();
    let name =
        url.strip_prefix("http://").and_then(|rest| rest.strip_suffix(".onion")).expect("an onion URL");
    assert_eq!(name.len(), 56, "{url}");
    url
}

fn request(what: &str, host: &str) -> String {
    format!("{what} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}")
}

fn code(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}

fn at_listener(address: SocketAddr, what: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request(what, "listener").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    code(&answer)
}

/// Another client of the network, in this process.
struct Visitor {
    runtime: Runtime,
    tor: Tor,
    _home: tempfile::TempDir,
}

impl Visitor {
    fn new(arti: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings::in_home(home.path(), None, arti.parse().unwrap()).unwrap();
        let runtime = Runtime::new().unwrap();
        let tor = runtime.block_on(async { Tor::launch(&settings, SystemClock::shared()).unwrap() });
        runtime.block_on(tor.ready(PATIENCE)).expect("a client");
        Self { runtime, tor, _home: home }
    }

    /// The status of one request, or why there is no stream for it.
    fn status(&self, host: &str, port: u16, what: &str) -> Result<u16, ConnectErrorKind> {
        self.runtime.block_on(async {
            let isolation = Isolation::new();
            let limits = Limits { circuit: PATIENCE, stream: PATIENCE };
            let stream = self.tor.connect(host, port, &isolation, limits, &[]).await;
            let mut stream = stream.map_err(|error| error.kind)?;
            stream.write_all(request(what, host).as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let mut answer = Vec::new();
            // Whatever ends the stream: Tor tells of it as of an error.
            let reading = stream.read_to_end(&mut answer);
            let _ = tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time");
            let answer = String::from_utf8(answer).unwrap();
            Ok(code(&answer))
        })
    }
}

#[test]
fn a_hosted_onion_service_answers_prompts_and_nothing_else_and_is_the_same_after_a_restart() {
    let Some(network) = tornet::using() else { return };
    let mut house = House::open(3, "warn");
    let url = host(&mut house, &network.arti_toml(), "");
    house.furnish(CLIENT, &url, 3);
    let arti = format!("tor.arti_config={}", house.room().join("arti.toml").display());
    let daemon = house.serve(CLIENT, &["--set", &arti]);
    let reply = daemon.ask("Is anybody there?");
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("Is anybody there?"), "{}", reply.body);

    // Each plane is where it belongs, and nowhere else.
    let (prompts, account) = ("POST /api/v1/llm-proxy", "GET /api/v1/me");
    assert_eq!((at_listener(house.address(), prompts), at_listener(house.address(), account)), (404, 401));
    let name = url.strip_prefix("http://").unwrap();
    let visitor = Visitor::new(&network.arti_toml());
    let at_onion = |what: &str| visitor.status(name, 80, what).expect("a stream");
    // Refused for what it lacks, not for where it went.
    assert_eq!((at_onion(prompts), at_onion(account)), (500, 404));
    for path in
        ["GET /", "POST /api/v1/auth-token/gpt-4.1", "GET /api/v1/model-pricing", "GET /api/v1/users/signin"]
    {
        assert_eq!(at_onion(path), 404, "{path}");
    }
    assert!(visitor.status(name, 9797, account).is_err(), "another port is answered");

    assert!(house.backend.stop().success());
    let again = host(&mut house, &network.arti_toml(), "");
    assert_eq!(again, url);
    let reply = daemon.ask("And now?");
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// A provider of one answer, given when it is told to.
struct Slow {
    base_url: String,
    arrived: mpsc::Receiver<()>,
    answer: mpsc::Sender<()>,
}

impl Slow {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let ((arrive, arrived), (answer, told)) = (mpsc::channel(), mpsc::channel::<()>());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 16 * 1024];
            assert!(stream.read(&mut buffer).unwrap() > 0);
            arrive.send(()).unwrap();
            let _ = told.recv();
            let message = serde_json::json!({ "role": "assistant", "content": "at last" });
            let choice = serde_json::json!({ "index": 0, "message": message, "finish_reason": "stop" });
            let body = serde_json::json!({ "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice] });
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
        });
        Self { base_url, arrived, answer }
    }
}

#[test]
fn a_call_in_flight_gets_its_answer_through_the_onion_service_that_is_told_to_stop() {
    let Some(network) = tornet::using() else { return };
    let mut house = House::open(1, "warn");
    let slow = Slow::start();
    let file = house.home("backend").join("backend.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("provider = \"embedded\""));
    let text = text.replace("provider = \"embedded\"", "provider = \"slow\"");
    let provider = format!("[providers.slow]\nbase_url = \"{}\"\n", slow.base_url);
    std::fs::write(&file, format!("{text}\n{provider}")).unwrap();
    let url = host(&mut house, &network.arti_toml(), "");
    house.furnish(CLIENT, &url, 1);
    let arti = format!("tor.arti_config={}", house.room().join("arti.toml").display());
    let daemon = house.serve(CLIENT, &["--set", &arti]);
    let call = thread::spawn(move || daemon.ask("Is anybody there?"));
    slow.arrived.recv_timeout(PATIENCE).unwrap();
    let address = house.address();
    let stopping = thread::spawn(move || house.backend.stop());
    // It is stopping once it no longer listens; the call still waits then.
    assert!(tornet::poll(PATIENCE, || TcpListener::bind(address).is_ok()));
    slow.answer.send(()).unwrap();
    let reply = call.join().unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("at last"), "{}", reply.body);
    assert!(stopping.join().unwrap().success());
}

#[test]
fn without_a_network_the_address_is_known_and_the_listener_serves_what_it_is_told_to() {
    let mut house = House::open(1, "warn");
    let url = host(&mut house, NOWHERE, "");
    let (prompts, account) = ("POST /api/v1/llm-proxy", "GET /api/v1/me");
    assert_eq!((at_listener(house.address(), prompts), at_listener(house.address(), account)), (404, 401));
    assert!(house.backend.stop().success());
    assert_eq!(host(&mut house, NOWHERE, ""), url);
    assert!(house.backend.stop().success());

    let mut told = House::open(1, "warn");
    assert_ne!(host(&mut told, NOWHERE, "planes = \"both\""), url);
    assert_eq!((at_listener(told.address(), prompts), at_listener(told.address(), account)), (500, 401));
    assert!(told.backend.stop().success());
}

#[test]
fn a_setting_that_arti_does_not_know_is_named_and_nothing_is_served() {
    let house = House::open(1, "off");
    let file = house.home("backend").join("backend.toml");
    let text = std::fs::read_to_string(&file).unwrap() + "\n[tor.arti.path_rulez]\nx = 1\n";
    std::fs::write(&file, text).unwrap();
    let arguments = ["backend", "serve", "--home", "backend", "--onion", "--listen", "127.0.0.1:0"];
    let output = crate::support::program::command(house.room()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("path_rulez") && said.contains("backend.toml"), "{said}");
}
