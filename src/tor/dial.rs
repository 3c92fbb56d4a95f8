//! How relays are dialled: the one place of the Tor client that opens connections.
//!
//! Arti hands addresses of relays and bridges here, never names: there is nothing to resolve. Each connection carries
//! many circuits' cells, so small writes must not wait for one another (`TCP_NODELAY`), and a network that is gone must
//! show within seconds, not after the kernel's quarter of an hour: keep-alive probes when idle, and a limit on
//! how long written bytes may stay unacknowledged. Then circuits die, idle streams end, and nothing is sent on them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::task::{FutureObj, Spawn, SpawnError};
use socket2::{SockRef, TcpKeepalive};
use tokio::sync::watch;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};
use tokio_util::sync::CancellationToken;
use tor_rtcompat::tokio::TokioRustlsRuntime;
use tor_rtcompat::{Blocking, CompoundRuntime, NetStreamListener, NetStreamProvider, StreamOps};

use crate::socket::Prompt;

/// Probes begin after this much silence.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
/// Between probes; three unanswered ones end the connection.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// A relay that does not answer for this long is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// So many failures in a row, and it is not the relays.
const WITNESSES: u32 = 3;
/// How long written bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// Arti's runtime, dialling as described above.
pub(super) type Runtime = CompoundRuntime<
    Tasks,
    TokioRustlsRuntime,
    TokioRustlsRuntime,
    Relays,
    TokioRustlsRuntime,
    TokioRustlsRuntime,
    TokioRustlsRuntime,
>;

type Base = TokioRustlsRuntime;

/// Whether relays can be reached, going by the latest connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// Some can, or nothing is known.
    #[default]
    Somebody,
    /// None of several.
    Nobody,
}

/// The runtime that this is called in, and what is seen while dialling. Fails outside one. Nothing is dialled any more once
/// `ended` is cancelled: parts of a client go on for a while after its end, and would ask for relays. Nothing of it goes on
/// once `abandoned` is.
pub(super) fn runtime(
    ended: CancellationToken,
    abandoned: CancellationToken,
) -> io::Result<(Runtime, watch::Receiver<Reach>)> {
    let base = Base::current()?;
    let (reach, seen) = watch::channel(Reach::default());
    let record = Arc::new(Record { failures: AtomicU32::new(0), reach });
    let tasks = Tasks { base: base.clone(), abandoned };
    let relays = Relays { record, ended };
    let runtime =
        CompoundRuntime::new(tasks, base.clone(), base.clone(), relays, base.clone(), base.clone(), base);
    Ok((runtime, seen))
}

/// What a client does in the background, which ends when it is abandoned. A client that is let go of does not end
/// by itself while it fetches a directory: that task holds the client's parts and the lock on its directories, and
/// goes on for as long as it does not succeed.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    base: Base,
    abandoned: CancellationToken,
}

impl Spawn for Tasks {
    fn spawn_obj(&self, task: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        let abandoned = self.abandoned.clone();
        let task = async move {
            let _ = abandoned.run_until_cancelled_owned(task).await;
        };
        self.base.spawn_obj(FutureObj::new(Box::new(task)))
    }
}

impl Blocking for Tasks {
    type ThreadHandle<T: Send + 'static> = <Base as Blocking>::ThreadHandle<T>;

    fn spawn_blocking<F, T>(&self, work: F) -> Self::ThreadHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.base.spawn_blocking(work)
    }

    fn reenter_block_on<F>(&self, future: F) -> F::Output
    where
        F: Future,
        F::Output: Send + 'static,
    {
        self.base.reenter_block_on(future)
    }

    fn blocking_io<F, T>(&self, work: F) -> impl Future<Output = T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.base.blocking_io(work)
    }
}

/// Connections to relays.
#[derive(Clone)]
pub(super) struct Relays {
    record: Arc<Record>,
    ended: CancellationToken,
}

struct Record {
    /// In a row.
    failures: AtomicU32,
    reach: watch::Sender<Reach>,
}

impl Record {
    fn note(&self, reached: bool) {
        let failures = if reached {
            self.failures.store(0, Ordering::Relaxed);
            0
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
        };
        let latest = if failures >= WITNESSES { Reach::Nobody } else { Reach::Somebody };
        // One failure says nothing against what was known.
        if reached || latest == Reach::Nobody {
            self.reach.send_if_modified(|reach| std::mem::replace(reach, latest) != latest);
        }
    }
}

/// A connection to a relay.
pub(super) struct Relay(Compat<Prompt>);

/// Nothing here depends on the system's handle: Arti's own flow control is the one that it uses by default.
impl StreamOps for Relay {}

impl AsyncRead for Relay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Relay {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

#[async_trait::async_trait]
impl NetStreamProvider<SocketAddr> for Relays {
    type Stream = Relay;
    type Listener = Deaf;
    type ConnectOptions = <Base as NetStreamProvider<SocketAddr>>::ConnectOptions;
    type ListenOptions = <Base as NetStreamProvider<SocketAddr>>::ListenOptions;

    async fn connect(&self, address: &SocketAddr, _options: &Self::ConnectOptions) -> io::Result<Relay> {
        #[expect(clippy::disallowed_methods, reason = "Arti dials relays and bridges here, by address")]
        let dialling = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(*address));
        let Some(dialled) = self.ended.run_until_cancelled(dialling).await else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let stream = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.record.note(stream.is_ok());
        let stream = stream?;
        stream.set_nodelay(true)?;
        notice_death(&stream);
        Ok(Relay(Prompt::new(stream).compat()))
    }

    async fn listen(&self, _address: &SocketAddr, _options: &Self::ListenOptions) -> io::Result<Deaf> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A client waits for nobody, so there is none.
pub(super) enum Deaf {}

impl NetStreamListener<SocketAddr> for Deaf {
    type Stream = Relay;
    type Incoming = futures_util::stream::Pending<io::Result<(Relay, SocketAddr)>>;

    fn incoming(self) -> Self::Incoming {
        match self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }
}

/// Not every system has every option; a connection without them is only slower to die.
fn notice_death(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    #[cfg(not(windows))]
    let keep_alive = keep_alive.with_retries(3);
    let _: io::Result<()> = socket.set_tcp_keepalive(&keep_alive);
    #[cfg(target_os = "linux")]
    let _: io::Result<()> = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_was_ended_dials_nobody() {
        let relay = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        relay.set_nonblocking(true).unwrap();
        let address = relay.local_addr().unwrap();
        let record =
            Arc::new(Record { failures: AtomicU32::new(0), reach: watch::channel(Reach::default()).0 });
        let relays = Relays { record, ended: CancellationToken::new() };
        assert!(relays.connect(&address, &<_>::default()).await.is_ok());
        relays.ended.cancel();
        let refused = relays.clone().connect(&address, &<_>::default()).await;
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::ConnectionAborted);
        assert!(relay.accept().is_ok() && relay.accept().is_err(), "one connection and no other");
    }

    #[test]
    fn several_failures_in_a_row_mean_offline_and_one_success_ends_that() {
        let (reach, seen) = watch::channel(Reach::default());
        let record = Record { failures: AtomicU32::new(0), reach };
        let after = |reached: &[bool]| {
            for reached in reached {
                record.note(*reached);
            }
            *seen.borrow()
        };
        assert_eq!(after(&[false, false, true, false, false]), Reach::Somebody);
        assert_eq!(after(&[false]), Reach::Nobody);
        assert_eq!(after(&[false]), Reach::Nobody);
        assert_eq!(after(&[true, false]), Reach::Somebody);
    }
}
