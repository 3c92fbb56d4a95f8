//! Accepting connections, keeping them, and ending them.
//!
//! HTTP/1.1 and HTTP/2 (with prior knowledge) are told apart by how a client begins.
//!
//! On shutdown no connection is accepted any more, idle ones are closed, calls under way get the grace
//! period, and then are cut: their answers stay with their tokens and the same request finds them. So does
//! the answer of a client that stops reading it: its connection is cut after [`Limits::write_time`]. With HTTP/2 a
//! client can do so without the socket's noticing, by granting no window; then the line (`handover`) notices. One stream
//! that stalls takes its connection with it: a client that reads what it asked for has none.
//!
//! [`Limits::write_time`]: super::Limits::write_time

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Endpoint;
use super::handover::{Exchange, GivenUp, Line};
use super::reply::Reply;
use super::service::Service;
use super::socket::{Protocol, Socket};

/// After a failure to accept that is ours (no file descriptor left, no memory), this long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Calls at once on one HTTP/2 connection; more of them wait at the client.
const STREAMS: u32 = 128;
/// All headers of a request, bytes, with HTTP/2.
const HEADERS: u32 = 16 * 1024;
/// What a client may send ahead on one stream, and on all of a connection; enough that no usual body waits for a window.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How long an HTTP/2 client with nothing under way has to take leave once told to.
const LEAVE: Duration = Duration::from_secs(1);

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
                tracing::warn!(
                    "cannot accept connections at the moment: {error}; more may be open with a higher limit (`ulimit -n`)"
                );
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
    // Without it every small write of a stream waits for an acknowledgement: 44 ms each.
    let _ = stream.set_nodelay(true);
    let line = Line::new();
    let mut socket = Socket::new(stream, Arc::clone(&line), common.write_time);
    let told = tokio::time::timeout(common.head_time, socket.protocol());
    // Who has said nothing, in time or before the shutdown, has nothing under way.
    match common.shutdown.run_until_cancelled(told).await {
        Some(Ok(Ok(Protocol::Http1))) => speak_http1(socket, line, common).await,
        Some(Ok(Ok(Protocol::Http2))) => speak_http2(socket, line, common).await,
        Some(Ok(Err(_)) | Err(_)) | None => {}
    }
}

async fn speak_http1(socket: Socket, line: Arc<Line>, common: Common) {
    let Common { service, tasks: _, shutdown, cut, head_time, write_time: _ } = common;
    let answer = service_fn(move |request| answer(Arc::clone(&service), line.begin(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_time)
            .serve_connection(TokioIo::new(socket), answer)
    );
    // How a connection ends is the client's affair: what it was owed is kept by the line.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = cut.cancelled() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = cut.run_until_cancelled(connection).await;
}

async fn speak_http2(socket: Socket, line: Arc<Line>, common: Common) {
    let Common { service, tasks, shutdown, cut, head_time, write_time } = common;
    let asked = Arc::clone(&line);
    let answer = service_fn(move |request| answer(Arc::clone(&service), asked.begin(), request));
    let mut connection = pin!(
        http2::Builder::new(Streams { tasks, cut: cut.clone() })
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADERS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_connection(TokioIo::new(socket), answer)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = cut.cancelled() => return,
        () = shutdown.cancelled() => {}
        given_up = line.given_up(head_time, write_time) => match given_up {
            GivenUp::Idle => {}
            GivenUp::Stalled => return,
        },
    }
    connection.as_mut().graceful_shutdown();
    line.restart();
    tokio::select! {
        _ = connection => {}
        () = cut.cancelled() => {}
        _ = line.given_up(LEAVE, write_time) => {}
    }
}

async fn answer(
    service: Arc<Service>,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let without_body = request.method() == Method::HEAD && request.version() == Version::HTTP_2;
    let mut response = service.respond(request, exchange).await;
    if without_body {
        // With HTTP/1.1 hyper does so by itself.
        if let Some(length) = response.body().size_hint().exact() {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Reply::plain(Bytes::new());
    }
    Ok(response)
}

/// Where the calls of an HTTP/2 connection run.
#[derive(Clone)]
struct Streams {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, call: F) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move { cut.run_until_cancelled(call).await });
    }
}
