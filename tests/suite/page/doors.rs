//! Who is let in at the page's port, and what the others can keep from them: nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use llmtor::control::Refusal;
use llmtor::control::message::StatusReport;
use llmtor::dashboard::desk::{Answer, Call, Errand, Setting};
use llmtor::dashboard::{Desk, Ends, Gate, Page, Visitor};
use llmtor::passage::Passage;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// More than the page has places.
const CROWD: usize = 300;

/// Nothing of it is asked for here.
struct Bare;

impl Desk for Bare {
    fn status(&self) -> Answer<'_, StatusReport> {
        unreachable!("nobody has a session")
    }

    fn calls(&self) -> Vec<Call> {
        Vec::new()
    }

    fn errands(&self) -> Vec<Errand> {
        Vec::new()
    }

    fn settings(&self) -> Vec<Setting> {
        Vec::new()
    }

    fn change(&self, _changes: &[(String, String)]) -> Result<(), Refusal> {
        Ok(())
    }

    fn set_passage(&self, _wanted: Passage) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn new_identity(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

struct Street {
    address: SocketAddr,
    /// The ends of those who live here.
    known: Arc<Mutex<HashSet<SocketAddr>>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Street {
    async fn new() -> Self {
        let known = Arc::new(Mutex::new(HashSet::new()));
        let list = Arc::clone(&known);
        let doorman = move |all: &[Ends]| {
            let list = list.lock().unwrap();
            let lives_here = |ends: &Ends| list.contains(&ends.from);
            all.iter()
                .map(|ends| if lives_here(ends) { Visitor::Ours } else { Visitor::Stranger })
                .collect::<Vec<_>>()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let gate = Arc::new(Gate::new(address, &mut rand::rng()));
        let page = Page::new(Arc::new(Bare), gate, Box::new(doorman));
        tokio::spawn(page.serve(listener, stop.clone()));
        Self { address, known, _stop: stop.drop_guard() }
    }

    async fn stranger(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn resident(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        self.known.lock().unwrap().insert(socket.local_addr().unwrap());
        socket.connect(self.address).await.unwrap()
    }

    /// What is said to a request, to the end of the connection.
    async fn asked(&self, mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let request =
            format!("GET /style.css HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        let asking = async {
            // Either may fail on a connection that was hung up.
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.read_to_end(&mut answer).await;
        };
        tokio::time::timeout(Duration::from_secs(4), asking).await.expect("no answer in time");
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn strangers_without_end_keep_nobody_waiting_who_lives_here() {
    let street = Street::new().await;
    let mut idle = Vec::new();
    for _ in 0..CROWD {
        idle.push(street.stranger().await);
    }
    assert!(street.asked(street.resident().await).await.starts_with("HTTP/1.1 200"));
    // Most were hung up on at once, and the others soon.
    let begun = Instant::now();
    for mut stream in idle {
        let mut nothing = [0];
        assert!(matches!(stream.read(&mut nothing).await, Ok(0) | Err(_)));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let refused = street.asked(street.stranger().await).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("another account"), "{refused}");
}

#[tokio::test]
async fn of_too_many_idle_connections_of_our_own_the_oldest_gives_way() {
    let street = Street::new().await;
    let mut idle = Vec::new();
    for _ in 0..CROWD {
        idle.push(street.resident().await);
    }
    assert!(street.asked(street.resident().await).await.starts_with("HTTP/1.1 200"));
    let youngest = idle.pop().unwrap();
    assert!(street.asked(youngest).await.starts_with("HTTP/1.1 200"));
    assert_eq!(street.asked(idle.remove(0)).await, "");
}
