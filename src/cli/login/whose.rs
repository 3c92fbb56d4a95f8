//! A sign-in as another account than the one that what is in this home was obtained as: never without having been asked for.

use crate::cli::arguments::LoginOptions;
use crate::cli::exit::{Exit, Failure};
use crate::cli::operate::{mismatch, operate_in};
use crate::cli::output::Output;
use crate::cli::typed;
use crate::config::Config;
use crate::control::message::{LoginReport, OtherAccount, SecretText};
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::secret::Secret;

const QUESTION: &str = "This is another account than the one that the tokens in this home were obtained as. These tokens would stay in use, and \
     calls paid by either account would carry the same abuse tokens, by which the backend can tell that they are one user's. \
     Two accounts that must never be connected belong in two homes (--home DIR).\nUse this account here all the same? [y/N] ";

/// Keeps the session. If it is another account's, whoever sits at the terminal decides, or said so beforehand.
pub(super) async fn sign_in(
    session: SecretText,
    options: &LoginOptions,
    output: Output,
    home: &Home,
    config: &Config,
) -> Result<LoginReport, Failure> {
    let perform = async |other| {
        let session = SecretText(Secret::new(session.0.expose().clone()));
        match operate_in(output, home, config, Operation::Login { session, other }).await? {
            Report::Login(report) => Ok(report),
            _ => Err(mismatch()),
        }
    };
    let other = if options.another_account { OtherAccount::Take } else { OtherAccount::Refuse };
    match perform(other).await {
        Err(failure) if failure.kind == "other_account" && typed::is_somebody_there(output) => {
            if typed::yes(QUESTION).await? {
                return perform(OtherAccount::Take).await;
            }
            Err(Failure::new(Exit::Failed, "not signed in; nothing was changed").advise(
                "give this account a home of its own: llmtor login --home DIR --backend URL --keys FILE",
            ))
        }
        result => result,
    }
}
