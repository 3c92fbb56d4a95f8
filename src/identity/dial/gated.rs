//! Dials that are called off when nothing may leave any more: by then nothing has been said on them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::passage::{Gate, Passage};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Puts the gate in front of a connector, and behind it.
#[derive(Clone)]
pub(super) struct GatedLayer(Gate);

impl GatedLayer {
    pub(super) fn new(gate: &Gate) -> Self {
        Self(gate.clone())
    }
}

impl<S> tower::Layer<S> for GatedLayer {
    type Service = Gated<S>;

    fn layer(&self, dialler: S) -> Gated<S> {
        Gated { dialler, gate: self.0.clone() }
    }
}

/// A connector behind the gate.
#[derive(Clone)]
pub(super) struct Gated<S> {
    dialler: S,
    gate: Gate,
}

impl<S, R> tower::Service<R> for Gated<S>
where
    S: tower::Service<R> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<Error> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.dialler.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let gate = self.gate.clone();
        // One that is dropped before it is polled dials nobody.
        let dialling = (gate.passage() == Passage::Open).then(|| self.dialler.call(request));
        Box::pin(async move {
            let shut = || Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
            let Some(dialling) = dialling else { return shut() };
            tokio::select! {
                biased;
                () = gate.shut() => shut(),
                dialled = dialling => dialled.map_err(Into::into),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower::{Layer as _, Service as _, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dial_under_way_is_called_off_by_a_pause_and_none_is_begun_after_it() {
        let gate = Gate::default();
        let slow = service_fn(|()| async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            Ok::<_, io::Error>("connected")
        });
        let mut gated = GatedLayer::new(&gate).layer(slow);
        assert_eq!(gated.call(()).await.unwrap(), "connected");
        let under_way = tokio::spawn(gated.call(()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        gate.set(Passage::Paused);
        assert!(under_way.await.unwrap().is_err());
        assert!(gated.call(()).await.is_err());
        gate.set(Passage::Open);
        assert!(gated.call(()).await.is_ok());
    }
}
