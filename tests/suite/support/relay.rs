//! A TCP relay that writes down what the client sent, one record a connection.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

type Record = Arc<Mutex<Vec<u8>>>;

/// Listens on a free port of 127.0.0.1 for as long as the test process lives.
pub struct Relay {
    address: SocketAddr,
    records: Arc<Mutex<Vec<Record>>>,
    swallowing: Arc<AtomicBool>,
}

impl Relay {
    /// A relay to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let records = Arc::new(Mutex::new(Vec::new()));
        let swallowing = Arc::new(AtomicBool::new(false));
        let (kept, swallows) = (Arc::clone(&records), Arc::clone(&swallowing));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let record = Record::default();
                kept.lock().unwrap().push(Arc::clone(&record));
                let swallow = swallows.load(Ordering::SeqCst);
                thread::spawn(move || pass(client, target, &record, swallow));
            }
        });
        Self { address, records, swallowing }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on requests go through and their answers do not: the connection is cut instead.
    pub fn swallow_answers(&self, swallow: bool) {
        self.swallowing.store(swallow, Ordering::SeqCst);
    }

    /// What each connection's client sent, in the order of their coming.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.records.lock().unwrap().iter().map(|record| record.lock().unwrap().clone()).collect()
    }
}

fn pass(client: TcpStream, target: SocketAddr, record: &Record, swallow: bool) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = thread::spawn(move || {
        let mut buffer = [0u8; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            if swallow || to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(read @ 1..) = from_client.read(&mut buffer) {
        record.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to_server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to_server.shutdown(Shutdown::Write);
    let _ = back.join();
}
