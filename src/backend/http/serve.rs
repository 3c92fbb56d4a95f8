//! Connections: accept, serve, and end them in good order. From a listener or from an onion service, all is one.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Peer;
use crate::socket::Prompt;
use crate::tor::Incoming;

/// How long a client may take over its header lines.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long the client of an onion service may take over reading the end of an answer. Beyond it what it has not read is
/// lost.
const LINGER: Duration = Duration::from_secs(5);
/// A pause after a failed accept: it is usually a lack of descriptors, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, then until the requests in flight have ended. Dropping the future cuts them off.
pub(in crate::backend) async fn serve_listener(
    router: Router,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let accepted = stream::unfold(listener, async |listener| Some((accept(&listener).await, listener)));
    serve(router, accepted, shutdown).await;
}

/// The same for the clients of an onion service. `false` if it ended by itself.
pub(in crate::backend) async fn serve_onion(
    router: Router,
    mut onion: Incoming,
    shutdown: CancellationToken,
) -> bool {
    // Borrowed: with the service every circuit would go, those of the requests in flight too.
    let accepted = stream::unfold(&mut onion, async |onion| {
        onion.next().await.map(|stream| ((stream, Peer::Onion), onion))
    });
    serve(router, accepted, shutdown.clone()).await;
    shutdown.is_cancelled()
}

async fn serve<S>(router: Router, accepted: impl Stream<Item = (S, Peer)>, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connections = JoinSet::new();
    {
        let mut accepted = std::pin::pin!(accepted);
        loop {
            let next = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                next = accepted.next() => next,
            };
            let Some((stream, peer)) = next else { break };
            connections.spawn(connection(router.clone(), stream, peer, shutdown.clone()));
        }
        // From here on nobody is kept waiting at a listener that no longer accepts.
    }
    while connections.join_next().await.is_some() {}
}

/// The next connection. Cancel-safe.
async fn accept(listener: &TcpListener) -> (Prompt, Peer) {
    loop {
        match listener.accept().await {
            // One that is gone already is not worth a word.
            Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => {
                return (Prompt::new(stream), Peer::At(peer));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S>(router: Router, stream: S, peer: Peer, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let was_asked = Arc::clone(&asked);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        let request: Request = request.map(axum::body::Body::new);
        Box::pin(router.clone().oneshot(request))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = shutdown.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    // What ends a connection is the client's affair and may name what it sent: not logged.
    if ended.is_ok() {
        let mut stream = connection.into_parts().io.into_inner();
        match peer {
            Peer::Onion if shutdown.is_cancelled() && was_asked.load(Ordering::Relaxed) => {
                linger(stream).await;
            }
            Peer::At(_) | Peer::Onion => drop(stream.shutdown().await),
        }
    }
}

/// Waits until the client of an onion service that ends has its whole answer, and closes. A circuit that is torn down loses
/// what is still on its way, and Tor knows no half-closed stream: nothing else tells.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let closing = async {
        stream.flush().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    drop(timeout(LINGER, closing).await);
}
