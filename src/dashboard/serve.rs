//! Connections of the page: few, short, and of this account only where the system tells whose they are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Gate;
use super::desk::Desk;
use super::route;

/// How long a client may take over its header lines, and how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long those are kept who get nothing.
const STRANGERS_TIME: Duration = Duration::from_secs(1);
/// A browser opens six. Where there are more than these, the oldest gives way.
const MOST_CONNECTIONS: usize = 64;
/// What strangers get at once; more of them are hung up on without a word.
const MOST_STRANGERS: usize = 8;
/// Connections that may wait for the doorman.
const MOST_WAITING: usize = 512;
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

/// A connection by its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where it was dialled.
    pub from: SocketAddr,
    /// Where it was taken.
    pub to: SocketAddr,
}

/// Tells whose connections they are, all with one look: in the same order, and for each.
pub type Doorman = Box<dyn Fn(&[Ends]) -> Vec<Visitor> + Send + Sync>;

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

    /// Serves until `stop`. Whose a connection is comes first; strangers have places of their own, and never another's.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let page = Arc::new(self);
        let mut connections = JoinSet::new();
        let (mut ours, mut strangers) = (Places::default(), Places::default());
        let (mut waiting, mut looks) = (Vec::new(), JoinSet::new());
        loop {
            if looks.is_empty() && !waiting.is_empty() {
                let (page, waiting) = (Arc::clone(&page), std::mem::take(&mut waiting));
                // The doorman reads files of any length: off the threads that calls run on.
                looks.spawn_blocking(move || page.tell_apart(waiting));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                Some(told) = looks.join_next(), if !looks.is_empty() => {
                    for (stream, visitor) in told.unwrap_or_default() {
                        let stop = stop.clone();
                        match visitor {
                            Visitor::Ours | Visitor::Untold => {
                                ours.make_room(MOST_CONNECTIONS);
                                let served = connection(stream, page.router.clone(), stop);
                                ours.taken(connections.spawn(served));
                            }
                            Visitor::Stranger if strangers.count() < MOST_STRANGERS => {
                                let served = connection(stream, page.strangers.clone(), stop);
                                // However it goes on.
                                let served = tokio::time::timeout(STRANGERS_TIME, served);
                                strangers.taken(connections.spawn(async { drop(served.await) }));
                            }
                            Visitor::Stranger => drop(stream),
                        }
                    }
                }
                accepted = listener.accept(), if waiting.len() < MOST_WAITING => match accepted {
                    Ok((stream, from)) => {
                        // One that is over already has no end here, and nobody to answer.
                        if let Ok(to) = stream.local_addr() {
                            waiting.push((stream, Ends { from, to }));
                        }
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        drop(waiting);
        let ended = async { while connections.join_next().await.is_some() {} };
        // What is left is dropped, and so cut.
        let _ = tokio::time::timeout(GRACE, ended).await;
    }

    fn tell_apart(&self, waiting: Vec<(TcpStream, Ends)>) -> Vec<(TcpStream, Visitor)> {
        let ends: Vec<Ends> = waiting.iter().map(|(_, ends)| *ends).collect();
        // Of whom nothing is told, a stranger.
        let told = (self.doorman)(&ends).into_iter().chain(std::iter::repeat(Visitor::Stranger));
        waiting.into_iter().map(|(stream, _)| stream).zip(told).collect()
    }
}

/// Connections of one sort, the oldest first.
#[derive(Default)]
struct Places(VecDeque<AbortHandle>);

impl Places {
    fn count(&mut self) -> usize {
        self.0.retain(|connection| !connection.is_finished());
        self.0.len()
    }

    /// Ends the oldest, if there are `most`: it is one that a browser has done with, or that never asked.
    fn make_room(&mut self, most: usize) {
        if self.count() >= most
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
    }

    fn taken(&mut self, connection: AbortHandle) {
        self.0.push_back(connection);
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is the browser's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
