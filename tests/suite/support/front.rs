//! A TLS front before a plain address, such as stands before most backends: with a certificate authority of its own,
//! session tickets on, and a manner for each address that it is dialled at, so that every exit can be treated differently.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llmtor::socket::Prompt;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

/// How connections to one address are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Passed on to the target.
    #[default]
    Pass,
    /// Read to the end of the request, which the target never sees, and answered by the front itself.
    Answer {
        /// The status line's code.
        status: u16,
        /// `Content-Type`.
        kind: &'static str,
        /// The body.
        body: &'static str,
    },
    /// Reset at once.
    Cut,
    /// Reset when the request has been read; the target never sees it.
    CutAfterRequest,
    /// The target answers, and half of the answer is passed on before the reset.
    CutInAnswer,
    /// The same, but the other half is held back instead.
    PauseInAnswer,
    /// Accepted; not a word is said.
    Hold,
    /// The handshake, and not a word more.
    HoldAfterHandshake,
    /// A certificate for the right name by an authority that nobody trusts.
    WrongCertificate,
}

/// One connection that came.
#[derive(Clone, Debug)]
pub struct Connection {
    /// From where.
    pub source: SocketAddr,
    /// At which of the front's addresses.
    pub door: IpAddr,
    /// How it was treated.
    pub manner: Manner,
    /// What kind of handshake it was, once it is done.
    pub handshake: Option<HandshakeKind>,
    /// What the client said.
    pub request: Vec<u8>,
    /// Whether half of an answer was sent, and the other half is held back.
    pub paused: bool,
}

/// A running front; ends when dropped.
pub struct Front {
    port: u16,
    authority: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    target: SocketAddr,
    right: TlsAcceptor,
    wrong: TlsAcceptor,
    manners: Mutex<(Manner, BTreeMap<IpAddr, Manner>)>,
    connections: Mutex<Vec<Connection>>,
    closings: watch::Sender<()>,
}

/// One connection's place in the record.
#[derive(Clone)]
struct Entry {
    shared: Arc<Shared>,
    index: usize,
    /// From its beginning: a client takes a connection for idle before the server does.
    closings: watch::Receiver<()>,
}

impl Front {
    /// Listens at each of `doors`, on one port, for TLS under `name`, and passes on to `target`.
    pub fn start(doors: &[Ipv4Addr], name: &str, target: SocketAddr) -> Self {
        let (authority, right) = certified(name);
        let (_, wrong) = certified(name);
        let shared = Arc::new(Shared {
            target,
            right,
            wrong,
            manners: Mutex::default(),
            connections: Mutex::default(),
            closings: watch::channel(()).0,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("front")
            .enable_all()
            .build()
            .unwrap();
        let listeners = listen(doors);
        let port = listeners[0].local_addr().unwrap().port();
        for (listener, door) in listeners.into_iter().zip(doors) {
            let (door, serving) = (IpAddr::from(*door), Arc::clone(&shared));
            runtime.spawn(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, source)) = listener.accept().await {
                    let manner = serving.manner(door);
                    let entry = Entry::new(&serving, source, door, manner);
                    tokio::spawn(serve(stream, manner, entry));
                }
            });
        }
        Self { port, authority, shared, runtime: Some(runtime) }
    }

    /// The port, the same at each door.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate (PEM) of its authority.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// From now on connections to `door` are treated so.
    pub fn treat(&self, door: IpAddr, manner: Manner) {
        self.shared.manners.lock().unwrap().1.insert(door, manner);
    }

    /// From now on all are treated so.
    pub fn treat_all(&self, manner: Manner) {
        *self.shared.manners.lock().unwrap() = (manner, BTreeMap::new());
    }

    /// Closes every connection on which nothing has been said yet, as servers do after a while.
    pub fn close_idle(&self) {
        self.shared.closings.send_replace(());
    }

    /// Every connection so far, in the order of their coming.
    pub fn connections(&self) -> Vec<Connection> {
        self.shared.connections.lock().unwrap().clone()
    }

    /// Those of them on which something was said.
    pub fn calls(&self) -> Vec<Connection> {
        self.connections().into_iter().filter(|connection| !connection.request.is_empty()).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn manner(&self, door: IpAddr) -> Manner {
        let manners = self.manners.lock().unwrap();
        manners.1.get(&door).copied().unwrap_or(manners.0)
    }
}

impl Entry {
    fn new(shared: &Arc<Shared>, source: SocketAddr, door: IpAddr, manner: Manner) -> Self {
        let mut connections = shared.connections.lock().unwrap();
        connections.push(Connection {
            source,
            door,
            manner,
            handshake: None,
            request: Vec::new(),
            paused: false,
        });
        let (index, closings) = (connections.len() - 1, shared.closings.subscribe());
        Self { shared: Arc::clone(shared), index, closings }
    }

    fn write(&self, change: impl FnOnce(&mut Connection)) {
        change(&mut self.shared.connections.lock().unwrap()[self.index]);
    }

    fn is_idle(&self) -> bool {
        self.shared.connections.lock().unwrap()[self.index].request.is_empty()
    }
}

/// On one port that is free at each.
fn listen(doors: &[Ipv4Addr]) -> Vec<std::net::TcpListener> {
    let bind = |ip: Ipv4Addr, port: u16| {
        let listener = std::net::TcpListener::bind((ip, port)).ok()?;
        listener.set_nonblocking(true).unwrap();
        Some(listener)
    };
    let all = || {
        let first = bind(doors[0], 0)?;
        let port = first.local_addr().unwrap().port();
        let others = doors[1..].iter().map(|ip| bind(*ip, port));
        std::iter::once(Some(first)).chain(others).collect::<Option<Vec<_>>>()
    };
    (0..100).find_map(|_| all()).expect("a port that is free at every door")
}

/// The authority's certificate as PEM, and an acceptor with a certificate of its for `name`.
fn certified(name: &str) -> (String, TlsAcceptor) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "Authority of a test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority, &authority_key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.ticketer = crypto::ring::Ticketer::new().unwrap();
    assert!(config.send_tls13_tickets > 0, "resumption is offered");
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn serve(stream: TcpStream, manner: Manner, entry: Entry) -> Option<()> {
    let acceptor = match manner {
        Manner::Cut => return reset(&stream),
        Manner::Hold => std::future::pending().await,
        Manner::WrongCertificate => &entry.shared.wrong,
        _ => &entry.shared.right,
    };
    // What acknowledges late is the network's affair; here it would only blur what is measured.
    stream.set_nodelay(true).ok()?;
    let mut tls = acceptor.accept(Prompt::new(stream)).await.ok()?;
    entry.write(|connection| connection.handshake = tls.get_ref().1.handshake_kind());
    match manner {
        Manner::HoldAfterHandshake => std::future::pending().await,
        Manner::Answer { status, kind, body } => {
            read_message(&mut tls, |bytes| entry.write(|at| at.request.extend_from_slice(bytes))).await?;
            let answer = format!(
                "HTTP/1.1 {status} Refused\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            tls.write_all(answer.as_bytes()).await.ok()?;
            tls.shutdown().await.ok()
        }
        Manner::CutAfterRequest => {
            read_message(&mut tls, |bytes| entry.write(|at| at.request.extend_from_slice(bytes))).await?;
            reset(tls.get_ref().0)
        }
        Manner::CutInAnswer | Manner::PauseInAnswer => {
            let request =
                read_message(&mut tls, |bytes| entry.write(|at| at.request.extend_from_slice(bytes))).await?;
            let mut target = TcpStream::connect(entry.shared.target).await.ok()?;
            target.write_all(&request).await.ok()?;
            let answer = read_message(&mut target, |_| ()).await?;
            tls.write_all(&answer[..answer.len() / 2]).await.ok()?;
            tls.flush().await.ok()?;
            if manner == Manner::PauseInAnswer {
                entry.write(|connection| connection.paused = true);
                std::future::pending::<()>().await;
            }
            // Time for the half to get where it goes: a reset overtakes what is not read yet.
            tokio::time::sleep(Duration::from_millis(100)).await;
            reset(tls.get_ref().0)
        }
        _ => pass(tls, &entry).await,
    }
}

/// The connection ends with RST, not FIN.
fn reset(stream: &impl AsFd) -> Option<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok()
}

async fn pass(tls: TlsStream<Prompt>, entry: &Entry) -> Option<()> {
    let mut closings = entry.closings.clone();
    let (mut from_client, mut to_client) = tokio::io::split(tls);
    let mut buffer = vec![0; 16 * 1024];
    // The target is dialled when there is something to say.
    let first = loop {
        tokio::select! {
            read = from_client.read(&mut buffer) => break read.ok().filter(|read| *read > 0)?,
            closing = closings.changed() => {
                closing.ok()?;
                if entry.is_idle() {
                    return to_client.shutdown().await.ok();
                }
            }
        }
    };
    entry.write(|connection| connection.request.extend_from_slice(&buffer[..first]));
    let target = TcpStream::connect(entry.shared.target).await.ok()?;
    target.set_nodelay(true).ok()?;
    let (mut from_target, mut to_target) = target.into_split();
    to_target.write_all(&buffer[..first]).await.ok()?;
    let upwards = async {
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            entry.write(|connection| connection.request.extend_from_slice(&buffer[..read]));
            to_target.write_all(&buffer[..read]).await.ok()?;
        }
        to_target.shutdown().await.ok()
    };
    let downwards = async {
        let copied = tokio::io::copy(&mut from_target, &mut to_client).await.ok();
        to_client.shutdown().await.ok();
        copied
    };
    tokio::join!(upwards, downwards);
    Some(())
}

/// One HTTP message, with a `Content-Length` if it has a body, told piece by piece; whole at the end.
async fn read_message(stream: &mut (impl AsyncRead + Unpin), mut tell: impl FnMut(&[u8])) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        tell(&buffer[..read]);
        message.extend_from_slice(&buffer[..read]);
        if length(&message).is_some_and(|length| message.len() >= length) {
            return Some(message);
        }
    }
}

/// How long the message is that begins so.
fn length(message: &[u8]) -> Option<usize> {
    let head = message.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&message[..head]).to_ascii_lowercase();
    let body =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(head + body.unwrap_or_default())
}
