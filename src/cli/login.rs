//! `llmtor login`: from a home that has a backend, or from nothing, to an account that tokens can be made from.
//!
//! | way | where the session comes from |
//! | --- | --- |
//! | the default | a browser window that is opened for it |
//! | `--paste` | the user, who is told where to find it |
//! | `--session-stdin` | standard input |
//!
//! Whichever it was, what follows is the same: the session is kept, missing abuse tokens are fetched, and the user is told
//! what there is and what happens next. What goes wrong from then on is a note: the sign-in stands.

mod by_hand;
mod first_tokens;
mod whose;

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app::{AppError, sign_in};
use crate::config::Config;
use crate::control::message::{LoginReport, MintReport, NextTopUp, SecretText, StatusReport, SupplyReport};
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::passage::Passage;
use crate::supervisor::Signals as _;
use crate::vault::Custody;
use crate::wire::ModelName;

use super::arguments::{InitOptions, LoginOptions};
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate_in};
use super::output::noted;
use super::{Context, account, init, serve, tokens};

/// What a program is told.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    login: LoginReport,
    /// Abuse tokens that were fetched.
    abuse_obtained: Vec<String>,
    /// Tokens that were minted at once.
    minted: Vec<MintReport>,
    /// How long each stock lasts, and what happens next by itself.
    supply: BTreeMap<ModelName, SupplyReport>,
    /// Whether calls can be made with what is here, as far as abuse tokens go.
    #[serde(skip)]
    calls: Calls,
}

/// Whether calls can be made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    Possible,
    /// The notes say why.
    Refused,
}

pub(super) async fn run(options: &LoginOptions, context: &Context) -> Result<Exit, Failure> {
    check_passage(context)?;
    if let (Some(backend), Some(keys)) = (options.backend.clone(), options.keys.clone()) {
        let (anonymous_url, force) = (options.anonymous_url.clone(), options.force);
        let order = InitOptions { backend, anonymous_url, keys, force };
        let done = init::set_up(&order, context).await?;
        context.output.remark(done.text().trim_end());
    }
    let (home, config) = configured(context)?;
    let session = if options.session_stdin {
        by_hand::from_stdin(context.output)?
    } else if options.paste {
        by_hand::guided(context.output, &config).await?
    } else {
        by_browser(options, context, &home, &config).await?
    };
    let login = whose::sign_in(session, options, context.output, &home, &config).await?;
    let mut done = Done {
        login,
        abuse_obtained: Vec::new(),
        minted: Vec::new(),
        supply: BTreeMap::new(),
        calls: Calls::Possible,
    };
    if let Err(failure) = follow_up(&mut done, options, context, &home, &config).await {
        done.login.notes.push(said(&failure));
    }
    context.output.result(&done, || text(&done));
    Ok(Exit::Done)
}

/// A session that is then refused would have ended the one before it, and a browser's window talks to others, too.
fn check_passage(context: &Context) -> Result<(), Failure> {
    let path = context.home_path()?;
    if path.exists() && Home::open(&path)?.passage() == Passage::Paused {
        return Err(AppError::Paused.into());
    }
    Ok(())
}

/// The home, if it has a backend. Without one nothing is made, and what to type is said.
fn configured(context: &Context) -> Result<(Home, Config), Failure> {
    let path = context.home_path()?;
    let home = path.exists().then(|| Home::open(&path)).transpose()?;
    let config = context.config(home.as_ref(), &[])?;
    if config.backend.identity_url().is_none() {
        return Err(Failure::new(Exit::Usage, "it is not known yet which backend to sign in to").advise(format!(
            "type `{}`, with the address and the keys file that the backend's operator publishes; or look around without a \
             backend: llmtor demo",
            context.command("login --backend URL --keys FILE")
        )));
    }
    let home = home.map_or_else(|| Home::open(&path), Ok)?;
    Ok((home, config))
}

async fn by_browser(
    options: &LoginOptions,
    context: &Context,
    home: &Home,
    config: &Config,
) -> Result<SecretText, Failure> {
    let mut signals = serve::signals()?;
    let minutes = config.login.patience().as_secs() / 60;
    let opened = || {
        context.output.remark(&format!(
            "A browser window is open: sign in there. It is an empty one, it closes by itself, and what it kept is deleted. It \
             waits {minutes} minutes; Ctrl-C ends it."
        ));
    };
    let stop = CancellationToken::new();
    let work = sign_in::by_browser(home, config, options.browser.clone(), &opened, &stop);
    tokio::pin!(work);
    tokio::select! {
        session = &mut work => Ok(session?),
        signal = signals.next() => {
            stop.cancel();
            // The window is closed and its profile deleted before this ends.
            let _ = work.await;
            Err(Failure::new(signal.into(), "stopped before the sign-in was over; nothing was changed")
                .advise("run `llmtor login` again when you like"))
        }
    }
}

/// Abuse tokens, first tokens, and what is told of both.
async fn follow_up(
    done: &mut Done,
    options: &LoginOptions,
    context: &Context,
    home: &Home,
    config: &Config,
) -> Result<(), Failure> {
    let perform = async |operation| operate_in(context.output, home, config, operation).await;
    let Report::Status(status) = perform(Operation::Status).await? else { return Err(mismatch()) };
    if status.custody == Custody::Ours && lacks_abuse_tokens(&status) {
        match perform(Operation::AbuseSetup).await {
            Ok(Report::AbuseSetup(report)) => done.abuse_obtained = report.obtained,
            Ok(_) => return Err(mismatch()),
            Err(failure) => {
                let why = said(&failure);
                done.calls = Calls::Refused;
                done.login.notes.push(format!(
                    "no abuse tokens yet, and no calls without: {why}. Once that is settled, `llmtor abuse setup` tries again"
                ));
            }
        }
    }
    // Credits turned into tokens under keys that are not the backend's would be lost.
    if status.custody == Custody::Ours && done.calls == Calls::Possible {
        for (model, count) in
            first_tokens::wanted(options, context.output, &status, &done.login.credits).await?
        {
            match perform(first_tokens::order(model.clone(), count)).await {
                Ok(Report::Mint(report)) => done.minted.push(report),
                Ok(_) => return Err(mismatch()),
                Err(failure) => {
                    done.login.notes.push(format!("no tokens for {model} yet: {}", said(&failure)));
                }
            }
        }
    }
    let Report::Status(status) = perform(Operation::Status).await? else { return Err(mismatch()) };
    done.supply = status.supply;
    Ok(())
}

/// One that is only out of date comes by itself, at a time that tells less.
fn lacks_abuse_tokens(status: &StatusReport) -> bool {
    status.abuse.required && (!status.abuse.permanent || status.abuse.transient.is_none())
}

fn said(failure: &Failure) -> String {
    match &failure.advice {
        Some(advice) => format!("{} ({advice})", failure.message),
        None => failure.message.clone(),
    }
}

fn text(done: &Done) -> String {
    let LoginReport { name, email, credits, notes } = &done.login;
    let mut lines = vec![
        format!("logged in as {}; the session is kept sealed in the home", account::who(name, email)),
        account::credits(credits),
    ];
    if !done.abuse_obtained.is_empty() {
        lines.push(format!("abuse tokens fetched: {}", done.abuse_obtained.join(", ")));
    }
    lines.extend(
        done.minted
            .iter()
            .map(|report| format!("{} tokens for {}, usable at once", report.minted, report.model)),
    );
    lines.push(next(done));
    let supply = tokens::supplies(&done.supply);
    lines.extend(supply.lines().map(str::to_owned));
    noted(&lines.join("\n"), notes)
}

/// What happens next, in a sentence.
fn next(done: &Done) -> String {
    if done.calls == Calls::Refused {
        return "next: what the note says; until then calls are refused, and no tokens were minted".into();
    }
    // Of models without credits nothing comes.
    let coming: Vec<_> = done
        .supply
        .values()
        .map(|supply| &supply.next)
        .filter(|next| !matches!(next, NextTopUp::NoCredit { .. }))
        .collect();
    let all = |is: fn(&NextTopUp) -> bool| !coming.is_empty() && coming.iter().all(|next| is(next));
    if coming.is_empty() && !done.supply.is_empty() {
        "next: llmtor buy; without credits no tokens come".into()
    } else if all(|next| matches!(next, NextTopUp::NotRunning)) {
        "next: llmtor serve; tokens come by themselves while it runs, at random times, so that the backend cannot match \
         account and calls"
            .into()
    } else if all(|next| matches!(next, NextTopUp::Off)) {
        "next: llmtor tokens mint; top-ups by themselves are off".into()
    } else {
        "tokens come by themselves, at random times, so that the backend cannot match account and calls"
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::SupplyLevel;

    fn done(next: NextTopUp) -> Done {
        let supply = SupplyReport { level: SupplyLevel::Empty, days: None, next };
        Done {
            login: LoginReport {
                name: "Alice".into(),
                email: "alice@example.com".into(),
                credits: [("gpt-4.1".to_owned(), 7), ("o1".to_owned(), 0)].into(),
                notes: vec!["a note".into()],
            },
            abuse_obtained: vec!["permanent".into(), "transient".into()],
            minted: Vec::new(),
            supply: [("gpt-4.1".parse().unwrap(), supply)].into(),
            calls: Calls::Possible,
        }
    }

    #[test]
    fn a_sign_in_says_who_what_there_is_and_what_comes_next() {
        let said = text(&done(NextTopUp::NotRunning));
        for words in [
            "logged in as Alice <alice@example.com>",
            "credits: gpt-4.1 7\n",
            "fetched: permanent, transient",
            "next: llmtor serve",
            "note: a note",
        ] {
            assert!(said.contains(words), "{words} is not in {said}");
        }
        let running = text(&done(NextTopUp::Look { before: "2026-12-01".into() }));
        assert!(running.contains("by themselves") && running.contains("2026-12-01"), "{running}");
        assert!(!running.contains("llmtor serve"), "{running}");
        let without = text(&done(NextTopUp::NoCredit { before: None }));
        assert!(
            without.contains("next: llmtor buy") && without.contains("`llmtor buy gpt-4.1`"),
            "{without}"
        );
        assert!(!without.contains("by itself") && !without.contains("by themselves"), "{without}");
        let refused = text(&Done { calls: Calls::Refused, ..done(NextTopUp::NotRunning) });
        assert!(
            refused.contains("next: what the note says") && !refused.contains("llmtor serve;"),
            "{refused}"
        );
    }
}
