//! Connections of the page: few, short, and of this account only where the system tells whose they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Gate;
use super::desk::Desk;
use super::route;

/// How long a client may take over its header lines, and how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The same for those who get nothing.
const STRANGERS_TIME: Duration = Duration::from_secs(1);
/// A browser opens six. More than these wait.
const MOST_CONNECTIONS: usize = 32;
/// After a failure to accept that is ours.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections have to end once told to.
const GRACE: Duration = Duration::from_secs(1);

/// Whose connection one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// This account's, or the system's own.
    Ours,
    /// Another account's, or nobody's that could be found.
    Stranger,
    /// The system never tells.
    Untold,
}

/// Tells whose connection it is that goes from the first address to the second.
pub type Doorman = Box<dyn Fn(SocketAddr, SocketAddr) -> Visitor + Send + Sync>;

/// The page.
pub struct Page {
    router: Router,
    strangers: Router,
    doorman: Doorman,
}

impl Page {
    /// A page with what is on `desk`, for whoever gets through `gate` and by the `doorman`.
    pub fn new(desk: Arc<dyn Desk>, gate: Arc<Gate>, doorman: Doorman) -> Self {
        Self { router: route::router(desk, gate), strangers: route::for_strangers(), doorman }
    }

    /// Serves until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let page = Arc::new(self);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let looks = Arc::new(Semaphore::new(1));
        let mut connections = JoinSet::new();
        loop {
            let place = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (page, looks, stop) = (Arc::clone(&page), Arc::clone(&looks), stop.clone());
            connections.spawn(async move {
                let _place = place;
                let (router, patience) = match page.whose(&stream, peer, looks).await {
                    Visitor::Ours | Visitor::Untold => (page.router.clone(), HEAD_TIME),
                    // Kept short, so that they cannot take all places.
                    Visitor::Stranger => (page.strangers.clone(), STRANGERS_TIME),
                };
                connection(stream, router, patience, stop).await;
            });
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        // What is left is dropped, and so cut.
        let _ = tokio::time::timeout(GRACE, ended).await;
    }

    /// Asks the doorman, who reads files of any length: off the threads that calls run on, and one connection at a time.
    async fn whose(self: &Arc<Self>, stream: &TcpStream, peer: SocketAddr, looks: Arc<Semaphore>) -> Visitor {
        let (Ok(here), Ok(look)) = (stream.local_addr(), looks.acquire_owned().await) else {
            return Visitor::Stranger;
        };
        let page = Arc::clone(self);
        let told = tokio::task::spawn_blocking(move || {
            let _look = look;
            (page.doorman)(peer, here)
        });
        told.await.unwrap_or(Visitor::Stranger)
    }
}

async fn connection(stream: TcpStream, router: Router, patience: Duration, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is the browser's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
