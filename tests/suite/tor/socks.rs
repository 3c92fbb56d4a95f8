//! A Tor that runs beside, over SOCKS: C tor for real, and proxies that are none.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{ask_all, assert_answers};
use crate::support::tor_world::TorWorld;
use crate::support::tornet::{self, Circuit, TorClient};

fn transport(proxy: impl std::fmt::Display) -> String {
    format!("socks5h://{proxy}")
}

/// The SOCKS user names that the client has circuits for.
fn users(client: &TorClient) -> BTreeSet<String> {
    client.circuits().into_iter().filter_map(|circuit| circuit.user).collect()
}

#[test]
fn through_c_tor_each_call_has_a_circuit_of_its_own() {
    let Some(network) = tornet::breaking() else { return };
    let mut world = TorWorld::new(&network, 6);
    world.set("anonymous.pool=0");
    let client = network.client();
    let before = users(&client);
    let daemon = world.serve(&["--transport", &transport(client.socks())]);
    let calls = ask_all(&world, &daemon, &["one", "two", "three", "four", "five", "six"]);
    assert_eq!(calls.len(), 6);
    assert!(
        calls.iter().all(|call| network.exit_at(call.door).is_some()),
        "by exits, which resolved the name"
    );
    let of_others = |circuit: &Circuit| circuit.user.as_ref().is_none_or(|user| before.contains(user));
    let circuits: Vec<_> = client.circuits().into_iter().filter(|circuit| !of_others(circuit)).collect();
    let users: BTreeSet<_> = circuits.iter().map(|circuit| circuit.user.clone()).collect();
    assert!(users.len() >= 6, "{circuits:#?}");
    assert_eq!(circuits.len(), users.len(), "no circuit for two, and no second circuit for one");
    assert!(circuits.iter().all(|circuit| circuit.path.len() >= 3), "{circuits:#?}");
    world.books().assert_balanced(6);
}

#[test]
fn through_c_tor_a_shared_circuit_is_one() {
    let Some(network) = tornet::breaking() else { return };
    let world = TorWorld::new(&network, 4);
    let client = network.client();
    let before = users(&client);
    let daemon = world.serve(&["--transport", &transport(client.socks()), "--isolation", "shared"]);
    let calls = ask_all(&world, &daemon, &["one", "two", "three", "four"]);
    let doors: BTreeSet<_> = calls.iter().map(|call| call.door).collect();
    assert_eq!((calls.len(), doors.len()), (4, 1));
    assert_eq!(users(&client).difference(&before).count(), 1);
}

/// Speaks SOCKS 5 and is not Tor: refuses RESOLVE, and passes CONNECT on to one address.
struct Proxy {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let record = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let record = Arc::clone(&record);
                thread::spawn(move || serve(stream, target, &record));
            }
        });
        Self { address, heard }
    }

    fn heard(&self, needle: &str) -> bool {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).contains(needle)
    }
}

/// RFC 1928 and RFC 1929.
#[expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]
fn serve(mut client: TcpStream, target: SocketAddr, heard: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let read = |client: &mut TcpStream, length: usize| {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes)?;
        heard.lock().unwrap().extend_from_slice(&bytes);
        Ok::<_, std::io::Error>(bytes)
    };
    let methods = read(&mut client, 2)?[1];
    read(&mut client, methods.into())?;
    client.write_all(&[5, 2])?;
    let user = read(&mut client, 2)?[1];
    let password = *read(&mut client, usize::from(user) + 1)?.last().unwrap();
    read(&mut client, password.into())?;
    client.write_all(&[1, 0])?;
    let request = read(&mut client, 5)?;
    read(&mut client, usize::from(request[4]) + 2)?;
    if request[1] != 1 {
        return client.write_all(&[5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    let mut server = TcpStream::connect(target)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        heard.lock().unwrap().extend_from_slice(&buffer[..length]);
        server.write_all(&buffer[..length])?;
    }
    Ok(())
}

#[test]
fn a_proxy_that_is_not_tor_is_refused_and_learns_nothing_of_the_target() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 2);
    let target = SocketAddr::from((network.door(network.exits().start), world.front.port()));
    let proxy = Proxy::start(target);
    let daemon = world.serve(&["--transport", &transport(proxy.address)]);
    let reply = daemon.ask("are you Tor?");
    assert_eq!(
        (reply.status, reply.error_code().as_deref()),
        (503, Some("proxy_is_not_tor")),
        "{}",
        reply.body
    );
    assert!(!proxy.heard.lock().unwrap().is_empty(), "it was asked what it is");
    assert!(!proxy.heard(world.name()) && !proxy.heard("backend"), "it was told the target");
    assert!(world.front.connections().is_empty());
    let books = world.books();
    assert_eq!((books.available, books.at_backend), (2, 0));
}

#[test]
fn a_proxy_that_is_not_tor_is_used_when_the_user_says_so_at_length() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    let target = SocketAddr::from((network.door(network.exits().start), world.front.port()));
    let proxy = Proxy::start(target);
    let daemon = world.serve(&["--transport", &transport(proxy.address), "--allow-socks-without-tor"]);
    assert_answers(&daemon.ask("whatever you are"), "whatever you are");
    assert!(proxy.heard(world.name()), "the name is the proxy's to resolve");
    assert!(!proxy.heard("whatever you are"), "the prompt went by in TLS");
}

#[test]
fn where_no_proxy_listens_the_user_is_told_to_start_tor() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let daemon = world.serve(&["--transport", &transport(closed)]);
    let reply = daemon.ask("anybody?");
    assert_eq!((reply.status, reply.error_code().as_deref()), (503, Some("tor_not_ready")), "{}", reply.body);
    assert!(reply.error_message().contains("start Tor"), "{}", reply.error_message());
}
