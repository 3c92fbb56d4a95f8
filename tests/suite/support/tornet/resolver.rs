//! A resolver for the exits: knows the names that tests told it, and writes down every question. Each exit has a port of
//! its own here, and is told another address than the others for the same name: whoever is dialled there knows the exit.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and answers names")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// RFC 1035 §4.1.1: this is an answer, by one who has authority.
const ANSWER: u16 = 0x8400;
const NO_SUCH_NAME: u16 = 3;
const TYPE_A: u16 = 1;

/// Answers for as long as the process lives.
pub struct Resolver {
    addresses: Vec<SocketAddrV4>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeSet<String>,
    asked: Vec<Question>,
}

/// What was asked, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without the dot at the end.
    pub name: String,
    /// The record's type; 1 is A.
    pub kind: u16,
    /// Which of the exits asked, counted from 0, where each has a port of its own.
    pub exit: usize,
    /// From where.
    pub source: SocketAddr,
}

impl Resolver {
    /// One port of the system's choice for each of `doors`, at which its exit is told that door's address.
    pub(super) fn start(ip: Ipv4Addr, doors: &[Ipv4Addr]) -> Self {
        Self::listen(ip, 0, doors)
    }

    /// At this port everybody is told the same address.
    pub fn for_all(at: SocketAddrV4, door: Ipv4Addr) -> Self {
        Self::listen(*at.ip(), at.port(), &[door])
    }

    fn listen(ip: Ipv4Addr, port: u16, doors: &[Ipv4Addr]) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let addresses = doors.iter().enumerate().map(|(exit, door)| {
            let socket = UdpSocket::bind((ip, port)).unwrap();
            let SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!("bound to IPv4") };
            let (door, known) = (*door, Arc::clone(&state));
            thread::spawn(move || {
                let mut buffer = [0; 1500];
                while let Ok((length, source)) = socket.recv_from(&mut buffer) {
                    let asker = (exit, source);
                    if let Some(answer) = respond(&buffer[..length], asker, door, &mut known.lock().unwrap())
                    {
                        let _ = socket.send_to(&answer, source);
                    }
                }
            });
            address
        });
        Self { addresses: addresses.collect(), state }
    }

    /// Where this exit asks.
    pub(super) fn address(&self, exit: usize) -> SocketAddrV4 {
        self.addresses[exit]
    }

    /// From now on `name` is known. The exits remember for a minute what they were told of it before.
    pub fn tell(&self, name: &str) {
        self.state.lock().unwrap().names.insert(name.to_ascii_lowercase());
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Question> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// RFC 1035 §4.1. `None` to what is no question.
fn respond(
    message: &[u8],
    (exit, source): (usize, SocketAddr),
    door: Ipv4Addr,
    state: &mut State,
) -> Option<Vec<u8>> {
    let (head, mut rest) = message.split_at_checked(12)?;
    let mut labels = Vec::new();
    loop {
        let (length, more) = rest.split_first()?;
        if *length == 0 {
            rest = more;
            break;
        }
        let (label, more) = more.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = more;
    }
    let (kind, rest) = rest.split_first_chunk::<2>()?;
    let (_class, rest) = rest.split_first_chunk::<2>()?;
    let (name, kind) = (labels.join("."), u16::from_be_bytes(*kind));
    let known = state.names.contains(&name);
    state.asked.push(Question { name, kind, exit, source });

    let found = known && kind == TYPE_A;
    let status = if known { ANSWER } else { ANSWER | NO_SUCH_NAME };
    let question = &message[12..message.len() - rest.len()];
    let mut answer = head[..2].to_vec();
    for number in [status, 1, u16::from(found), 0, 0] {
        answer.extend(number.to_be_bytes());
    }
    // As it came: whoever asks mixes upper and lower case, and wants to see the same.
    answer.extend(question);
    if found {
        // The name at byte 12; A, IN, a minute, four bytes.
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(door.octets());
    }
    Some(answer)
}

#[test]
fn the_resolver_answers_what_it_was_told_and_writes_down_what_it_was_asked() {
    let doors = [Ipv4Addr::new(127, 0, 0, 8), Ipv4Addr::new(127, 0, 0, 9)];
    let resolver = Resolver::start(Ipv4Addr::LOCALHOST, &doors);
    resolver.tell("backend.test");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ask = |name: &str, kind: u8| {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, kind, 0, 1]);
        socket.send_to(&message, resolver.address(1)).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    };
    let known = ask("BackEnd.test", 1);
    assert_eq!((&known[..4], known[7]), (&[7, 9, 0x84, 0][..], 1));
    assert!(known.ends_with(&[127, 0, 0, 9]));
    let other_kind = ask("backend.test", 28);
    assert_eq!((other_kind[3], other_kind[7]), (0, 0));
    let unknown = ask("other.test", 1);
    assert_eq!((unknown[3], unknown[7]), (3, 0));
    let source = socket.local_addr().unwrap();
    let expected = [("backend.test", 1), ("backend.test", 28), ("other.test", 1)];
    assert_eq!(
        resolver.asked(),
        expected.map(|(name, kind)| Question { name: name.to_owned(), kind, exit: 1, source })
    );
}
