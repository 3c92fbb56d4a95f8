//! Accepting connections, keeping them, and ending them.
//!
//! On shutdown no connection is accepted any more, idle ones are closed, calls under way get the grace
//! period, and then are cut: their answers stay with their tokens and the same request finds them. So does
//! the answer of a client that stops reading it: its connection is cut after [`Limits::write_time`].
//!
//! [`Limits::write_time`]: super::Limits::write_time

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Endpoint;
use super::handover::Handovers;
use super::service::Service;

/// After a failure to accept that is ours (no file descriptor left, no memory), this long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of the endpoint have in common.
#[derive(Clone)]
struct Common {
    service: Arc<Service>,
    /// The connections.
    tasks: TaskTracker,
    /// No new calls.
    shutdown: CancellationToken,
    /// The grace period is over.
    cut: CancellationToken,
    head_time: Duration,
    write_time: Duration,
}

/// Serves `endpoint` on all `listeners` until `shutdown`, then waits up to `grace` for the calls under way.
pub async fn serve(
    listeners: Vec<TcpListener>,
    endpoint: Endpoint,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let cut = CancellationToken::new();
    // Also when this future is dropped: no connection outlives the endpoint.
    let _cut_at_the_end = cut.clone().drop_guard();
    let common = Common {
        head_time: endpoint.limits.head_time,
        write_time: endpoint.limits.write_time,
        service: Arc::new(Service::new(endpoint)),
        tasks: TaskTracker::new(),
        shutdown,
        cut,
    };
    let mut acceptors: JoinSet<()> =
        listeners.into_iter().map(|listener| accept(listener, common.clone())).collect();
    while acceptors.join_next().await.is_some() {}
    common.tasks.close();
    if tokio::time::timeout(grace, common.tasks.wait()).await.is_err() {
        tracing::info!("the grace period is over: cutting the calls that are left");
        common.cut.cancel();
        common.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, common: Common) {
    while let Some(accepted) = common.shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                common.tasks.spawn(connection(stream, common.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "cannot accept connections at the moment");
                common.shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

/// The peer gave up before it was accepted; the listener is well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn connection(stream: TcpStream, common: Common) {
    let Common { service, tasks: _, shutdown, cut, head_time, write_time } = common;
    // Without it every small write of a stream waits for an acknowledgement: 44 ms each.
    let _ = stream.set_nodelay(true);
    let handovers = Arc::new(Handovers::default());
    let socket = Socket { stream, handovers: Arc::clone(&handovers), write_time, stalled: None };
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        let handovers = Arc::clone(&handovers);
        async move { Ok::<_, Infallible>(service.respond(request, handovers).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_time)
            .serve_connection(TokioIo::new(socket), answer)
    );
    // How a connection ends is the client's affair: what it was owed is kept by the handovers.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = cut.cancelled() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = cut.run_until_cancelled(connection).await;
}

/// A socket that tells when it has taken everything, which hyper flushes only with its own buffer empty, and
/// that fails once its peer has taken nothing for too long.
struct Socket {
    stream: TcpStream,
    handovers: Arc<Handovers>,
    write_time: Duration,
    /// Set while the peer takes nothing: when that becomes a failure.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// What a write came to: a stall begins with the first that waits and ends with the next that does not.
    fn watch(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_time = self.write_time;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(write_time)));
        stalled.as_mut().poll(cx).map(|()| {
            tracing::debug!("a client does not read its answer: cutting its connection");
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.handovers.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
