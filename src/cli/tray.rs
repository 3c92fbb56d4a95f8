//! `llmtor tray`

use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::app;
use crate::desktop::{self, DesktopError, Seat};

use super::Context;
use super::arguments::TrayOptions;
use super::exit::{Exit, Failure};

/// Holds the main thread, which the desktop wants for itself.
pub(super) fn run(options: &TrayOptions, context: &Context, runtime: &Runtime) -> ExitCode {
    match show(options, context, runtime) {
        Ok(exit) => exit.into(),
        Err(failure) => context.output.failure(&failure),
    }
}

fn show(options: &TrayOptions, context: &Context, runtime: &Runtime) -> Result<Exit, Failure> {
    let (home, config) = context.open(&[])?;
    // A daemon that nobody sees is not started for an icon that cannot be shown.
    runtime.block_on(desktop::check())?;
    let start: desktop::Start = {
        let (home, config, sets) = (home.clone(), config.clone(), context.sets.clone());
        Arc::new(move || {
            let (home, config, sets) = (home.clone(), config.clone(), sets.clone());
            Box::pin(async move {
                let started = app::launch::ensure_running(&home, &config, &sets).await;
                started.map(drop).map_err(|error| error.to_string())
            })
        })
    };
    if !options.no_start {
        match runtime.block_on(app::launch::ensure_running(&home, &config, &context.sets)) {
            Ok((launched, _)) => {
                if let Some(remark) = launched.remark() {
                    context.output.remark(remark);
                }
            }
            // The icon says so, too, and can try again.
            Err(error) => {
                let refusal = error.refusal();
                context.output.remark(&refusal.message);
                if let Some(advice) = &refusal.advice {
                    context.output.remark(advice);
                }
            }
        }
    }
    let keys = home.clone();
    let seat = Seat {
        home,
        named_home: context.named_home(),
        read_key: Box::new(move || app::read_api_key(&keys).ok()),
        start,
    };
    desktop::run(seat, runtime.handle())?;
    Ok(Exit::Done)
}

impl From<DesktopError> for Failure {
    fn from(error: DesktopError) -> Self {
        let advice = match error {
            DesktopError::NoDesktop(_) => {
                "run it in a desktop session; without one, `llmtor status`, `llmtor pause` and `llmtor service` do the same"
            }
            DesktopError::Shown => "look for it in the panel; to have another, quit that one in its menu",
            DesktopError::Icon(_) => "`llmtor status` shows the same as the icon would",
        };
        Self::new(Exit::Failed, error.to_string()).advise(advice)
    }
}
