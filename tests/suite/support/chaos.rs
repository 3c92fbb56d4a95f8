//! A proxy before the backend that breaks things: seeded, so that a run can be had again, and logged, so that it can be
//! understood.
//!
//! What is done to a connection is drawn from the seed and the connection's ordinal, or taken from a script that a test
//! wrote. Both planes go through it, one request a connection: it asks the backend to close after the answer. The log
//! has a line for each connection (ordinal, plane, act), and nothing of what was said. In memory it keeps, for the books,
//! which token went with which prompt, as digests.
//!
//! | act | the backend has processed the request | the client sees |
//! | --- | --- | --- |
//! | pass, delay, drip | yes | the answer; later; a few bytes at a time |
//! | cut before, cut in the request | no | a reset |
//! | cut before the answer, in it, after it | yes | a reset instead of the answer, in it, after all of it |
//! | duplicate | twice, at once | one of the two answers |
//! | encore | again, after the answer was given | the answer |
//! | page, garbage, empty | either way | a 502 page, noise, a 200 without a body |
//! | truncated | yes | half of the answer's JSON as if it were all |
//! | refuse (scripts only) | no | a refusal in the backend's words |
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// Nothing in a test is silent for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// SHA-256 of a token, as the backend's `spent.db` has it; or of a prompt.
pub type Hash = [u8; 32];

/// Whether the backend is asked before the client is told nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Asked,
    Spared,
}

/// What is done to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pass,
    Delay(Duration),
    Drip,
    CutBefore,
    CutInRequest,
    CutBeforeAnswer,
    CutInAnswer,
    CutAfter,
    Duplicate,
    Encore,
    Page(Backend),
    Garbage(Backend),
    Empty(Backend),
    Truncated,
    /// A 500 of the backend's with this `error`.
    Refuse(&'static str),
}

/// A running proxy.
pub struct Chaos {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    seed: Mutex<Option<u64>>,
    script: Mutex<VecDeque<Act>>,
    ordinal: AtomicU64,
    disturbed: AtomicU64,
    presented: Mutex<HashMap<Hash, HashSet<Hash>>>,
    log: Mutex<File>,
}

impl Chaos {
    /// Before `target`; passes everything until [`Chaos::rage`].
    pub fn start(target: SocketAddr, log: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            seed: Mutex::default(),
            script: Mutex::default(),
            ordinal: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
            presented: Mutex::default(),
            log: Mutex::new(File::create(log).unwrap()),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A connection that breaks by itself is chaos, too.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens, for both planes.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on acts are drawn from `seed`; `None` for peace.
    pub fn rage(&self, seed: Option<u64>) {
        *self.shared.seed.lock().unwrap() = seed;
    }

    /// What is done to the next connections, before any is drawn.
    pub fn script(&self, acts: &[Act]) {
        self.shared.script.lock().unwrap().extend(acts);
    }

    /// Connections so far, and how many of them were not simply passed.
    pub fn connections(&self) -> (u64, u64) {
        (self.shared.ordinal.load(Ordering::SeqCst), self.shared.disturbed.load(Ordering::SeqCst))
    }

    /// The prompts that each token went with, on every connection whose request may have reached the backend.
    pub fn presented(&self) -> HashMap<Hash, HashSet<Hash>> {
        self.shared.presented.lock().unwrap().clone()
    }
}

/// What happens to connection `ordinal` of a run with `seed`.
pub fn drawn(seed: u64, ordinal: u64) -> Act {
    let mut rng = StdRng::seed_from_u64(seed ^ ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let backend = if rng.random_bool(0.5) { Backend::Asked } else { Backend::Spared };
    match rng.random_range(0..100) {
        0..5 => Act::CutBefore,
        5..10 => Act::CutInRequest,
        10..16 => Act::CutBeforeAnswer,
        16..21 => Act::CutInAnswer,
        21..25 => Act::CutAfter,
        25..31 => Act::Duplicate,
        31..35 => Act::Encore,
        35..39 => Act::Page(backend),
        39..43 => Act::Garbage(backend),
        43..46 => Act::Empty(backend),
        46..49 => Act::Truncated,
        49..53 => Act::Drip,
        53..60 => Act::Delay(Duration::from_millis(rng.random_range(10..400))),
        _ => Act::Pass,
    }
}

impl Shared {
    fn act(&self, ordinal: u64) -> Act {
        if let Some(act) = self.script.lock().unwrap().pop_front() {
            return act;
        }
        self.seed.lock().unwrap().map_or(Act::Pass, |seed| drawn(seed, ordinal))
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_nodelay(true)?;
        let ordinal = self.ordinal.fetch_add(1, Ordering::SeqCst);
        let act = self.act(ordinal);
        if act != Act::Pass {
            self.disturbed.fetch_add(1, Ordering::SeqCst);
        }
        if act == Act::CutBefore {
            self.note(ordinal, "-", act);
            return reset(&client);
        }
        let request = read_request(&mut client)?;
        let plane = if request.starts_with(b"POST /api/v1/llm-proxy ") { "anonymous" } else { "identity" };
        self.note(ordinal, plane, act);
        // What is refused here is sent nowhere.
        if plane == "anonymous" && !matches!(act, Act::Refuse(_)) {
            self.remember(&request);
        }
        self.carry_out(act, ordinal, &mut client, &request)
    }

    fn carry_out(&self, act: Act, ordinal: u64, client: &mut TcpStream, request: &[u8]) -> io::Result<()> {
        let asked = |backend| if backend == Backend::Asked { self.ask(request).map(drop) } else { Ok(()) };
        match act {
            Act::Pass => client.write_all(&self.ask(request)?),
            Act::Delay(pause) => {
                thread::sleep(pause);
                client.write_all(&self.ask(request)?)
            }
            Act::Drip => {
                let answer = self.ask(request)?;
                for drop in answer.chunks(answer.len() / 30 + 1) {
                    client.write_all(drop)?;
                    thread::sleep(Duration::from_millis(4));
                }
                Ok(())
            }
            Act::CutBefore => reset(client),
            Act::CutInRequest => {
                let mut server = TcpStream::connect(self.target)?;
                server.write_all(&request[..request.len() / 2])?;
                reset(&server)?;
                reset(client)
            }
            Act::CutBeforeAnswer => {
                self.ask(request)?;
                reset(client)
            }
            Act::CutInAnswer => {
                let answer = self.ask(request)?;
                client.write_all(&answer[..answer.len() / 2])?;
                reset(client)
            }
            Act::CutAfter => {
                client.write_all(&self.ask(request)?)?;
                reset(client)
            }
            Act::Duplicate => thread::scope(|scope| {
                let other = scope.spawn(|| self.ask(request));
                let own = self.ask(request);
                let other = other.join().unwrap();
                client.write_all(&if ordinal.is_multiple_of(2) { own } else { other }?)
            }),
            Act::Encore => {
                client.write_all(&self.ask(request)?)?;
                self.ask(request).map(drop)
            }
            Act::Page(backend) => {
                asked(backend)?;
                let page =
                    "<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>";
                client.write_all(&answer("502 Bad Gateway", "text/html", page.as_bytes()))
            }
            Act::Garbage(backend) => {
                asked(backend)?;
                let mut noise = [0; 700];
                StdRng::seed_from_u64(ordinal).fill(&mut noise[..]);
                client.write_all(&noise)
            }
            Act::Empty(backend) => {
                asked(backend)?;
                client.write_all(&answer("200 OK", "application/json", b""))
            }
            Act::Truncated => {
                let whole = self.ask(request)?;
                let body = split(&whole).map_or(&[][..], |(_, body)| body);
                client.write_all(&answer("200 OK", "application/json", &body[..body.len() / 2]))
            }
            Act::Refuse(error) => {
                let body = serde_json::json!({ "status": "Internal Server Error.", "error": error });
                let head = "500 Internal Server Error";
                client.write_all(&answer(head, "application/json", body.to_string().as_bytes()))
            }
        }
    }

    /// The backend's whole answer.
    fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.target)?;
        server.set_read_timeout(Some(PATIENCE))?;
        server.write_all(request)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn remember(&self, request: &[u8]) {
        let Some((_, body)) = split(request) else { return };
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else { return };
        let token = body["extra_body"]["llmmask"]["Token"].as_str().unwrap_or_default();
        let token = Sha256::digest(STANDARD.decode(token).unwrap_or_default());
        let prompt = Sha256::digest(body["messages"].to_string());
        self.presented.lock().unwrap().entry(token.into()).or_default().insert(prompt.into());
    }

    fn note(&self, ordinal: u64, plane: &str, act: Act) {
        // No contents: the acts are all there is to tell.
        let _ = writeln!(self.log.lock().unwrap(), "{ordinal} {plane} {act:?}");
    }
}

/// A reset instead of an orderly end.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A request, whole, with `connection: close` in its head.
fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&buffer[..read]);
        let Some((head, body)) = split(&request) else { continue };
        let head = String::from_utf8_lossy(head).into_owned();
        if body.len() < header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0) {
            continue;
        }
        if header(&head, "connection").is_none() {
            let (line, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
            let head = format!("{line}\r\nconnection: close\r\n{fields}\r\n\r\n");
            return Ok([head.as_bytes(), body].concat());
        }
        return Ok(request);
    }
}

/// Head and body.
fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&message[..end], &message[end + 4..]))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[test]
fn a_seed_draws_the_same_acts_again_and_every_kind_of_them() {
    let acts = |seed| (0..2000).map(|ordinal| drawn(seed, ordinal)).collect::<Vec<_>>();
    assert_eq!(acts(5), acts(5));
    assert_ne!(acts(5), acts(6));
    let kinds: HashSet<_> = acts(5).iter().map(std::mem::discriminant).collect();
    // All but the refusals, which are for scripts.
    assert_eq!(kinds.len(), 14);
}
