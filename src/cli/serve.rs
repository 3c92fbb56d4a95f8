//! `llmtor serve`

use std::io::IsTerminal as _;

use serde::Serialize;
use tokio::sync::watch;

use crate::app;
use crate::app::daemon::Daemon;
use crate::app::logging;
use crate::passage::{PAUSED, Passage};
use crate::supervisor::{Ended, ProcessSignals};
use crate::tor::{Phase, Status};

use super::Context;
use super::arguments::ServeOptions;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::status;

/// The first line of standard output with `--json`.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    base_url: &'a str,
    api_key: &'a str,
}

pub(super) async fn run(options: &ServeOptions, context: &Context) -> Result<Exit, Failure> {
    let listen = options.listen.as_deref().map(|value| ("--listen", "server.listen", value));
    let transport = options.transport.as_deref().map(|value| ("--transport", "anonymous.transport", value));
    let isolation = options.isolation.as_deref().map(|value| ("--isolation", "anonymous.isolation", value));
    let waiver = ("--allow-socks-without-tor", "anonymous.socks_without_tor", "true");
    let waiver = options.allow_socks_without_tor.then_some(waiver);
    let flags: Vec<_> = listen.into_iter().chain(transport).chain(isolation).chain(waiver).collect();
    #[cfg(unix)]
    if options.detached {
        // It leads a session already if it was started by a service manager; then there is nothing to leave.
        let _ = rustix::process::setsid();
    }
    let mut signals = signals()?;
    let (home, config) = context.open(&flags)?;
    let lock = app::lock_for_daemon(&home).await?;
    logging::keep(&home, config.log.files);
    let daemon = Daemon::start(&home, lock, &config)
        .await
        .inspect_err(|error| tracing::error!("llmtor did not start: {error}"))?;
    tracing::info!("llmtor {} runs at {}", env!("CARGO_PKG_VERSION"), daemon.base_url());
    crate::service::tell_ready();
    let ready = Ready { event: "ready", base_url: daemon.base_url(), api_key: daemon.api_key().expose() };
    context.output.result(&ready, || {
        // Under a service manager this is kept in a journal that others read; so the key is for a terminal alone.
        if std::io::stdout().is_terminal() {
            format!("ready at {}\nOPENAI_API_KEY={}\nCtrl-C stops it", ready.base_url, ready.api_key)
        } else {
            format!("ready at {}\n`{}` prints the key", ready.base_url, context.command("env"))
        }
    });
    if daemon.operations().keyring().is_empty() {
        context
            .output
            .remark("no keys are pinned, so no model can be asked for; run `llmtor keys import FILE`");
    }
    if let Some(paused) = status::paused(context, daemon.operations().custody().await?) {
        context.output.remark(&paused);
    }
    if home.passage() == Passage::Paused {
        context.output.remark(PAUSED);
    }
    let starting = daemon.tor().map(|tor| tokio::spawn(show(context.output, tor.changes())));
    let result = daemon.run(&mut signals).await;
    if let Some(starting) = starting {
        starting.abort();
    }
    ended(result?)
}

/// A bar on a terminal while Tor starts, with what it is at or stuck on.
async fn show(output: Output, mut changes: watch::Receiver<Status>) {
    let bar = output.percent_bar("Tor");
    loop {
        let Status { percent, phase } = changes.borrow_and_update().clone();
        bar.set_position(percent.into());
        match phase {
            Phase::Bootstrapping(stage) => bar.set_message(stage.to_string()),
            Phase::AtRest => bar.set_message("at rest while llmtor is paused"),
            Phase::Blocked(blockage) => bar.set_message(format!("stuck: {blockage}")),
            Phase::Ready | Phase::Dormant => break,
        }
        if changes.changed().await.is_err() {
            break;
        }
    }
    bar.finish_and_clear();
    output.remark("Tor is ready");
}

pub(super) fn signals() -> Result<ProcessSignals, Failure> {
    ProcessSignals::install().map_err(|error| {
        Failure::new(Exit::Failed, format!("signals cannot be caught: {error}"))
            .advise("the system has run out of something: close other programs and try again")
    })
}

/// A server that was asked to stop and did has done its work.
pub(super) fn ended(ended: Ended) -> Result<Exit, Failure> {
    match ended {
        Ended::Stopped(_) => Ok(Exit::Done),
        Ended::Forced(signal) => Ok(signal.into()),
        Ended::Part { name, error } => {
            let reason = error.unwrap_or_else(|| "nobody asked it to".into());
            Err(Failure::new(Exit::Failed, format!("{name} ended: {reason}"))
                .advise("`llmtor logs` tells more; start it again"))
        }
    }
}
