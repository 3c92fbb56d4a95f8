//! Running the long-lived parts of one process, and stopping them together.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | a part ends, well or badly | every other part is told to stop |
//! | first Ctrl-C or SIGTERM, or the terminal is closed | every part is told to stop; the grace period runs |
//! | the grace period ends | what still runs is dropped (the vault calls such tokens in doubt) |
//! | second signal | immediately, without the rest of the grace period |
//!
//! Invariant: [`Supervisor::run`] returns only when no part runs any more.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Beyond the parts' own grace period, before they are dropped: time to close what they closed in time.
const MARGIN: Duration = Duration::from_secs(2);

/// A request from outside to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, or the terminal was closed.
    Terminate,
}

/// Where signals come from; a trait so that a test can send some.
pub trait Signals: Send {
    /// The next signal. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Signal> + Send;
}

/// How everything ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Asked to, within the grace period or at its end.
    Stopped(Signal),
    /// Asked to twice.
    Forced(Signal),
    /// A part ended although nobody had asked it to.
    Part {
        /// Which.
        name: &'static str,
        /// Why, if it failed.
        error: Option<String>,
    },
}

/// The parts of one process.
pub struct Supervisor {
    stop: CancellationToken,
    grace: Duration,
    parts: JoinSet<(&'static str, Result<(), String>)>,
    helpers: JoinSet<()>,
}

impl Supervisor {
    /// No parts yet; each will have `grace` to end once told to.
    pub fn new(grace: Duration) -> Self {
        Self { stop: CancellationToken::new(), grace, parts: JoinSet::new(), helpers: JoinSet::new() }
    }

    /// Cancelled when the parts shall stop.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a part that is meant to run until told to stop. Its end is everybody's end.
    pub fn part<E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.parts.spawn(async move { (name, future.await.map_err(|error| error.to_string())) });
    }

    /// Starts something that ends by itself, such as recovery at start-up. Its end means nothing to the others.
    pub fn helper(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.helpers.spawn(async move {
            stop.run_until_cancelled(future).await;
        });
    }

    /// Waits for a signal or for a part's end, then stops all.
    pub async fn run(mut self, signals: &mut impl Signals) -> Ended {
        let ended = loop {
            tokio::select! {
                signal = signals.next() => break Ended::Stopped(signal),
                Some(part) = self.parts.join_next() => break part_ended(part),
                Some(_) = self.helpers.join_next() => {}
            }
        };
        self.stop.cancel();
        let deadline = tokio::time::sleep(self.grace + MARGIN);
        tokio::pin!(deadline);
        let forced = loop {
            tokio::select! {
                part = self.parts.join_next() => match part {
                    Some(Ok((name, Err(error)))) => tracing::warn!(name, %error, "ended badly while stopping"),
                    Some(_) => {}
                    None => break None,
                },
                signal = signals.next() => break Some(signal),
                () = &mut deadline => {
                    tracing::warn!("the grace period is over; dropping what still runs");
                    break None;
                }
            }
        };
        self.parts.shutdown().await;
        self.helpers.shutdown().await;
        forced.map_or(ended, Ended::Forced)
    }
}

fn part_ended(part: Result<(&'static str, Result<(), String>), tokio::task::JoinError>) -> Ended {
    match part {
        Ok((name, result)) => Ended::Part { name, error: result.err() },
        // The panic's own message may quote what it choked on.
        Err(_) => {
            Ended::Part { name: "a part", error: Some("it panicked; this is a defect of llmtor".into()) }
        }
    }
}

/// The process's own signals.
pub struct ProcessSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// `None` where hanging up is to be ignored.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl ProcessSignals {
    /// Takes over Ctrl-C, SIGTERM and the closing of the terminal; from now on they no longer end the process by themselves.
    pub fn install() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: if ignores_hangups() { None } else { Some(signal(SignalKind::hangup())?) },
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }
}

impl Signals for ProcessSignals {
    #[cfg(unix)]
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            () = hung_up(self.hangup.as_mut()) => {
                // A closed terminal may say so more than once, and that is not somebody who insists.
                self.hangup = None;
                Signal::Terminate
            }
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

#[cfg(unix)]
async fn hung_up(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether the process was started to outlive its terminal (`nohup`): what is ignored then is not to be caught.
#[cfg(unix)]
fn ignores_hangups() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored(&status) & 1 == 1)
}

/// The signals that a process ignores, bit n - 1 for signal n.
#[cfg(unix)]
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_process_that_is_to_outlive_its_terminal_is_recognised() {
        assert_eq!(ignored("Name:\tllmtor\nSigIgn:\t0000000000001001\n") & 1, 1);
        assert_eq!(ignored("SigIgn:\t0000000000001000\n") & 1, 0);
        assert_eq!(ignored(""), 0);
    }

    struct Scripted(mpsc::Receiver<Signal>);

    impl Signals for Scripted {
        async fn next(&mut self) -> Signal {
            match self.0.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            }
        }
    }

    fn signals(script: &[Signal]) -> (mpsc::Sender<Signal>, Scripted) {
        let (sender, receiver) = mpsc::channel(4);
        for signal in script {
            sender.try_send(*signal).unwrap();
        }
        (sender, Scripted(receiver))
    }

    #[tokio::test]
    async fn the_first_part_to_end_stops_the_others() {
        let mut supervisor = Supervisor::new(Duration::from_secs(60));
        let stop = supervisor.stop();
        supervisor.part("patient", async move {
            stop.cancelled().await;
            Ok::<_, String>(())
        });
        supervisor.part("hasty", async { Err("the disk is full") });
        let (_sender, mut signals) = signals(&[]);
        let ended = supervisor.run(&mut signals).await;
        assert_eq!(ended, Ended::Part { name: "hasty", error: Some("the disk is full".into()) });
    }

    #[tokio::test]
    async fn a_helper_may_end_without_ending_anything() {
        let mut supervisor = Supervisor::new(Duration::from_secs(60));
        let (sender, mut signals) = signals(&[]);
        supervisor.helper(async move { sender.send(Signal::Terminate).await.unwrap() });
        let stop = supervisor.stop();
        supervisor.part("patient", async move {
            stop.cancelled().await;
            Ok::<_, String>(())
        });
        assert_eq!(supervisor.run(&mut signals).await, Ended::Stopped(Signal::Terminate));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_stop_is_dropped_when_the_grace_period_ends() {
        let mut supervisor = Supervisor::new(Duration::from_secs(5));
        supervisor.part("deaf", std::future::pending::<Result<(), String>>());
        let begun = tokio::time::Instant::now();
        let (_sender, mut signals) = signals(&[Signal::Terminate]);
        assert_eq!(supervisor.run(&mut signals).await, Ended::Stopped(Signal::Terminate));
        assert_eq!(begun.elapsed(), Duration::from_secs(5) + MARGIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_does_not_wait() {
        let mut supervisor = Supervisor::new(Duration::from_secs(5));
        supervisor.part("deaf", std::future::pending::<Result<(), String>>());
        let begun = tokio::time::Instant::now();
        let (_sender, mut signals) = signals(&[Signal::Interrupt, Signal::Interrupt]);
        assert_eq!(supervisor.run(&mut signals).await, Ended::Forced(Signal::Interrupt));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
