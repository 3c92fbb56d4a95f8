//! The dialler of a Tor that runs beside: Tor Browser's, or the system's, over SOCKS 5.
//!
//! Names are resolved by that Tor and nowhere else. Lanes are random user names and passwords: Tor's `IsolateSOCKSAuth`,
//! which is on unless somebody turned it off, never joins two of them on one circuit.
//!
//! A proxy that is not Tor would hide nothing, so each dial first asks for something that only Tor does: its own command
//! RESOLVE (C tor's `doc/spec` "socks-extensions", §2), for an address, which Tor answers by itself with that very
//! address and without a circuit. [`Verification::Waived`] leaves that out.
//!
//! The proxy is on this machine: dialling goes through the loopback transport's own check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tor_socksproto::{
    Buffer, Handshake as _, NextStep, PreciseReads, SocksAddr, SocksAuth, SocksClientHandshake, SocksCmd,
    SocksHostname, SocksReply, SocksRequest, SocksStatus, SocksVersion,
};

use super::isolated::Dialer;
use super::target::Target;
use super::tls::Tls;
use super::{Exit, NotReady, Opened, TransportError, TransportErrorKind, Way, loopback};

/// What RESOLVE is asked for: an address of a documentation network (RFC 5737), which nobody has.
const ASKED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// Whether the proxy must behave as Tor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It must, at every dial.
    Required,
    /// The user said in so many words that it need not.
    Waived,
}

/// Streams to one backend through a SOCKS proxy on this machine.
pub struct SocksDialer {
    proxy: SocketAddr,
    target: Target,
    tls: Tls,
    verification: Verification,
}

/// A user name and a password, as bytes; Tor keeps circuits of different ones apart.
#[derive(Clone)]
pub struct Credentials(Arc<[u8; 32]>);

impl Credentials {
    fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut rng = rand::rng();
        Self(Arc::new(std::array::from_fn(|_| DIGITS[rng.random_range(0..DIGITS.len())])))
    }

    fn auth(&self) -> SocksAuth {
        let (user, password) = self.0.split_at(16);
        SocksAuth::Username(user.to_vec(), password.to_vec())
    }
}

impl SocksDialer {
    /// `proxy` must be a loopback address; another is refused at each dial.
    pub fn new(proxy: SocketAddr, target: Target, tls: Tls, verification: Verification) -> Self {
        Self { proxy, target, tls, verification }
    }

    async fn proxy(&self) -> Result<TcpStream, TransportError> {
        loopback::dial(self.proxy).await.map_err(|error| match error.kind() {
            TransportErrorKind::NotLoopback => error,
            _ => TransportError::new(TransportErrorKind::NotReady(NotReady::NoProxy)),
        })
    }

    /// Fails unless the proxy behaves as Tor does.
    async fn verify(&self) -> Result<(), TransportError> {
        let not_tor = || TransportError::new(TransportErrorKind::NotTor);
        let mut stream = self.proxy().await?;
        let address = SocksHostname::try_from(ASKED.to_string()).map_err(|_| not_tor())?;
        let request =
            request(SocksCmd::RESOLVE, SocksAddr::Hostname(address), 0, Credentials::random().auth())?;
        match handshake(&mut stream, request, Verification::Required).await {
            Some(reply)
                if reply.status() == SocksStatus::SUCCEEDED
                    && *reply.addr() == SocksAddr::Ip(IpAddr::V4(ASKED)) =>
            {
                Ok(())
            }
            _ => Err(not_tor()),
        }
    }

    async fn connect(&self, lane: &Credentials) -> Result<TcpStream, TransportError> {
        let connect = || TransportError::new(TransportErrorKind::Connect);
        let host = self.target.host();
        let address = match host.parse::<Ipv6Addr>() {
            Ok(ip) => SocksAddr::Ip(ip.into()),
            Err(_) => SocksAddr::Hostname(SocksHostname::try_from(host.to_owned()).map_err(|_| connect())?),
        };
        let port = self.target.port();
        let mut stream = self.proxy().await?;
        let request = request(SocksCmd::CONNECT, address, port, lane.auth())?;
        let reply = handshake(&mut stream, request, self.verification).await.ok_or_else(connect)?;
        let kind = match reply.status() {
            SocksStatus::SUCCEEDED => return Ok(stream),
            SocksStatus::CONNECTION_REFUSED => TransportErrorKind::Refused,
            SocksStatus::TTL_EXPIRED => TransportErrorKind::Timeout,
            _ => TransportErrorKind::Connect,
        };
        Err(TransportError::new(kind))
    }
}

impl Dialer for SocksDialer {
    type Lane = Credentials;

    fn lane(&self) -> Credentials {
        Credentials::random()
    }

    async fn dial(&self, lane: &Credentials, _avoid: &[Exit]) -> Result<Opened, TransportError> {
        if self.verification == Verification::Required {
            self.verify().await?;
        }
        let stream = self.connect(lane).await?;
        let stream = self.tls.layer(stream, &self.target).await?;
        Ok(Opened { stream, exit: None })
    }

    async fn ready(&self) -> Result<(), TransportError> {
        Ok(())
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn way(&self) -> Way {
        Way::Socks
    }
}

fn request(
    command: SocksCmd,
    address: SocksAddr,
    port: u16,
    auth: SocksAuth,
) -> Result<SocksRequest, TransportError> {
    SocksRequest::new(SocksVersion::V5, command, address, port, auth)
        .map_err(|_| TransportError::new(TransportErrorKind::Connect))
}

/// The method "user name and password" (RFC 1928 §3), without which Tor keeps no calls apart.
const USER_NAME: u8 = 2;

/// The proxy's reply; `None` if it does not speak SOCKS 5, hangs up, or does not want the user name that it must want.
/// Reads not one byte of what follows.
async fn handshake(
    stream: &mut TcpStream,
    request: SocksRequest,
    verification: Verification,
) -> Option<SocksReply> {
    let mut handshake = SocksClientHandshake::new(request);
    let mut buffer = Buffer::<PreciseReads>::new_precise();
    // The version, and then the method that the proxy chose of the two that it is offered.
    let mut greeting: Vec<u8> = Vec::new();
    loop {
        match handshake.step(&mut buffer).ok()? {
            NextStep::Send(bytes) => stream.write_all(&bytes).await.ok()?,
            NextStep::Recv(mut wanted) => {
                let count = stream.read(wanted.buf()).await.ok()?;
                greeting.extend(wanted.buf()[..count].iter().take(2 - greeting.len().min(2)));
                if verification == Verification::Required
                    && greeting.get(1).is_some_and(|by| *by != USER_NAME)
                {
                    return None;
                }
                wanted.note_received(count).ok()?;
            }
            NextStep::Finished(finished) => return finished.into_output().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a proxy says after the request.
    #[derive(Clone, Copy)]
    enum Manner {
        /// RESOLVE as Tor answers it; CONNECT succeeds.
        Tor,
        /// "Command not supported" to RESOLVE.
        Plain,
        /// Success to whatever is asked, with an address of nobody.
        Agreeable,
        /// No user name and no password, thank you.
        Anonymous,
        /// An HTTP server.
        Http,
    }

    /// Command, user name and host.
    type Request = (u8, Vec<u8>, Vec<u8>);

    #[derive(Clone, Default)]
    struct Seen(Arc<std::sync::Mutex<Vec<Request>>>);

    async fn proxy(manner: Manner) -> (SocketAddr, Seen) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let record = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner, record.clone()));
            }
        });
        (address, seen)
    }

    async fn serve(mut stream: TcpStream, manner: Manner, seen: Seen) -> Option<()> {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.ok()?;
        let mut methods = vec![0; usize::from(head[1])];
        stream.read_exact(&mut methods).await.ok()?;
        let mut user = Vec::new();
        match manner {
            Manner::Http => {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok()?;
                return None;
            }
            Manner::Anonymous if methods.contains(&0) => stream.write_all(&[5, 0]).await.ok()?,
            Manner::Anonymous => return stream.write_all(&[5, 255]).await.ok(),
            _ => {
                stream.write_all(&[5, 2]).await.ok()?;
                stream.read_exact(&mut head).await.ok()?;
                user = vec![0; usize::from(head[1])];
                stream.read_exact(&mut user).await.ok()?;
                let mut password = vec![0; usize::from(stream.read_u8().await.ok()?)];
                stream.read_exact(&mut password).await.ok()?;
                stream.write_all(&[1, 0]).await.ok()?;
            }
        }
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.ok()?;
        let mut host = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut host).await.ok()?;
        host.truncate(host.len() - 2);
        seen.0.lock().unwrap().push((request[1], user, host));
        let reply = match (manner, request[1]) {
            (Manner::Tor, 0xF0) => [5, 0, 0, 1, 192, 0, 2, 77, 0, 0],
            (Manner::Plain, 0xF0) => [5, 7, 0, 1, 0, 0, 0, 0, 0, 0],
            _ => [5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        };
        stream.write_all(&reply).await.ok()?;
        // The first byte of what follows is not lost.
        stream.write_all(b"x").await.ok()
    }

    fn dialer(proxy: SocketAddr, verification: Verification) -> SocksDialer {
        let target = Target::new("http://backend.onion:8080").unwrap();
        SocksDialer::new(proxy, target, Tls::new(None, None).unwrap(), verification)
    }

    async fn outcome(manner: Manner, verification: Verification) -> (Option<TransportErrorKind>, Seen) {
        let (address, seen) = proxy(manner).await;
        let dialer = dialer(address, verification);
        match dialer.dial(&dialer.lane(), &[]).await {
            Ok(mut opened) => {
                assert_eq!(opened.stream.read_u8().await.unwrap(), b'x');
                (None, seen)
            }
            Err(error) => (Some(error.kind()), seen),
        }
    }

    #[tokio::test]
    async fn tor_is_asked_to_prove_itself_and_then_for_the_name() {
        let (error, seen) = outcome(Manner::Tor, Verification::Required).await;
        assert_eq!(error, None);
        let seen = seen.0.lock().unwrap();
        assert_eq!(seen.iter().map(|(command, ..)| *command).collect::<Vec<_>>(), [0xF0, 1]);
        assert_eq!(seen[1].2, b"backend.onion");
        assert_ne!(seen[0].1, seen[1].1, "the question shares no circuit with the call");
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_tor_is_refused_and_never_told_the_name() {
        for manner in [Manner::Plain, Manner::Agreeable, Manner::Anonymous, Manner::Http] {
            let (error, seen) = outcome(manner, Verification::Required).await;
            assert_eq!(error, Some(TransportErrorKind::NotTor));
            assert!(seen.0.lock().unwrap().iter().all(|(command, ..)| *command == 0xF0));
        }
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_tor_is_used_when_the_user_says_so() {
        for manner in [Manner::Plain, Manner::Agreeable, Manner::Anonymous] {
            assert_eq!(outcome(manner, Verification::Waived).await.0, None);
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_the_user_is_told_to_start_tor() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let dialer = dialer(address, Verification::Required);
        let error = dialer.dial(&dialer.lane(), &[]).await.err().unwrap();
        assert_eq!(error.kind(), TransportErrorKind::NotReady(NotReady::NoProxy));
    }

    #[test]
    fn no_two_lanes_are_alike() {
        let lanes: std::collections::HashSet<_> = (0..100).map(|_| *Credentials::random().0).collect();
        assert_eq!(lanes.len(), 100);
    }
}
