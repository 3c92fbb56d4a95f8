//! `llmtor backend invite …`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::backend::{Invite, InviteOrder};
use crate::cli::Context;
use crate::cli::arguments::BackendInviteCommand;
use crate::cli::exit::{Exit, Failure};

use super::{blocking, open, settings};

pub(super) async fn run(
    command: BackendInviteCommand,
    home: &Path,
    context: &Context,
) -> Result<Exit, Failure> {
    let settings = settings(home, None)?;
    match command {
        BackendInviteCommand::Create { name, credits, uses, expires } => {
            let mut counts = BTreeMap::new();
            for (model, count) in credits {
                *counts.entry(model).or_insert(0_i64) += count;
            }
            let order = InviteOrder { account: name, uses, days: expires, credits: counts };
            let (invite, code) = blocking(move |home| open(home, settings)?.invite(order), home).await?;
            let result = json!({
                "id": invite.id,
                "code": code.expose(),
                "account": invite.account,
                "uses": invite.uses_left,
                "expires_at": invite.expires_at,
                "credits": invite.credits,
            });
            context.output.remark("the code of the new invite; it is shown this once:");
            context.output.result(&result, || code.expose().to_owned());
        }
        BackendInviteCommand::List => {
            let invites = blocking(move |home| open(home, settings)?.invites(), home).await?;
            context.output.result(&invites, || list(&invites));
        }
        BackendInviteCommand::Revoke { id } => {
            let revoked = id.clone();
            blocking(move |home| open(home, settings)?.revoke_invite(&revoked), home).await?;
            context.output.result(&json!({ "revoked": id }), || {
                format!("{id} is withdrawn; accounts that were made with it stay")
            });
        }
    }
    Ok(Exit::Done)
}

fn list(invites: &[Invite]) -> String {
    if invites.is_empty() {
        return "no invite can be used; make one with `llmtor backend invite create`".into();
    }
    let mut text = format!("{:10} {:>6}  {:10}  {}\n", "id", "uses", "until", "for");
    for invite in invites {
        let until = time::OffsetDateTime::from_unix_timestamp(invite.expires_at);
        let until = until.map_or_else(|_| "for ever".to_owned(), |until| until.date().to_string());
        let account = invite.account.as_deref().unwrap_or("a new account each");
        // Writing to a String cannot fail.
        let _ = write!(text, "{:10} {:>6}  {until:10}  {account}", invite.id, invite.uses_left);
        for (model, count) in &invite.credits {
            let _ = write!(text, ", {model}={count}");
        }
        text.push('\n');
    }
    text
}
