//! Signing in and out, and what that means for issuances that are pending.
//!
//! A pending issuance can only be finished by its own BlindedToken, which the backend has perhaps seen under the account
//! that began it. Sent under another account it would tie the two together, and the other account would pay. So no
//! issuance outlives its account's time in this home:
//!
//! | | pending issuances, of credits and of abuse tokens |
//! | --- | --- |
//! | sign-in, same account as before (by its tag) | stay |
//! | sign-in, another account, or it cannot be told whose they are | wiped, before the session is kept |
//! | sign-out | finished as far as that goes in a bounded time; the others wiped, after the session is |
//!
//! A crash between the two wipings of a sign-out leaves pending rows and no session: the next sign-in cannot tell whose
//! they are, and wipes them.
//!
//! What is *held*, credit tokens and abuse tokens, outlives a sign-out, and ties the calls of whoever uses it. So the vault
//! keeps a tag of the account that it was obtained as, for as long as something is held:
//!
//! | a sign-in as | what is held |
//! | --- | --- |
//! | its owner | stays in use |
//! | somebody else | nothing is changed ([`IdentityError::OtherAccount`]), until the user says that it may be ([`Admit::Anybody`]): then it stays in use, and they own it |
//! | it cannot be told | stays in use, and the user is told |
//!
//! Of what is wiped, a credit that was debited is lost; one that was not is still in its account. Either way it is written
//! down as given up, in the commit that wipes it.
//!
//! Deliberately absent: a change of the abuse tokens that are *held*. Blinded when they were signed, they name no account,
//! and a permanent one is issued once per account: to drop it would lock the account out of its own home for good.

use crate::identity::api::Rejected;
use crate::identity::error::Foreign;
use crate::identity::{Account, Identity, IdentityError, Predecessor, Recovered};
use crate::secret::Secret;
use crate::vault::{Abandoned, Note};
use crate::wire::identity::Me;

/// Whose sign-in is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Only that of the account that what is held was obtained as, if that is known.
    Owner,
    /// Anybody's.
    Anybody,
}

/// What a sign-in came to.
#[derive(Debug)]
pub struct SignedIn {
    /// Who it is.
    pub account: Account,
    /// Whose session was kept before.
    pub predecessor: Predecessor,
    /// Whose what is held was until now.
    pub owner: Predecessor,
    /// What was pending and is wiped.
    pub abandoned: Abandoned,
}

/// What a sign-out came to. The session is gone from here.
#[derive(Debug)]
pub struct SignedOut {
    /// What became of those that were pending, but for those in [`SignedOut::abandoned`].
    pub recovered: Recovered,
    /// What was pending still and is wiped.
    pub abandoned: Abandoned,
    /// Why the backend may still know the session, if it could not be told.
    pub untold: Option<IdentityError>,
}

impl Identity {
    pub(super) async fn sign_in_in_turn(&self, admit: Admit) -> Result<SignedIn, IdentityError> {
        // A session that the backend does not know would only fail later, and hide the one that works.
        let account: Account = self.api.get::<Me>(&["me"]).await?.into();
        let predecessor = self.file.predecessor_of(&account.id);
        let owner = self.owner_as_seen_by(&account, predecessor).await?;
        if admit == Admit::Owner && owner == Predecessor::Another {
            return Err(IdentityError::OtherAccount);
        }
        let abandoned = match predecessor {
            Predecessor::Same => Abandoned::default(),
            Predecessor::Another | Predecessor::Unknown => self.give_up_all().await?,
        };
        self.file.store(&self.session, &account.id, &mut rand::rng())?;
        let tag = self.file.tag(&account.id).map(Vec::from).unwrap_or_default();
        self.deposits.keep_note(Note::Owner, Secret::new(tag)).await?;
        Ok(SignedIn { account, predecessor, owner, abandoned })
    }

    /// Whether what is held was obtained as `account`. Homes of before this was kept know it of the session alone.
    async fn owner_as_seen_by(
        &self,
        account: &Account,
        predecessor: Predecessor,
    ) -> Result<Predecessor, IdentityError> {
        let kept = self.deposits.note(Note::Owner).await?.filter(|kept| !kept.expose().is_empty());
        Ok(match (kept, self.file.tag(&account.id)) {
            (None, _) => predecessor,
            (Some(_), None) => Predecessor::Unknown,
            (Some(kept), Some(tag)) if kept.expose()[..] == tag => Predecessor::Same,
            (Some(_), Some(_)) => Predecessor::Another,
        })
    }

    pub(super) async fn sign_out_in_turn(&self) -> Result<SignedOut, IdentityError> {
        let mut recovered = Recovered::default();
        // Whatever ends it early, the rest is wiped.
        match tokio::time::timeout(self.pace.parting, self.finish(&mut recovered)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%error, "not everything pending could be finished"),
            Err(_) => tracing::info!("not everything pending could be finished in time"),
        }
        (recovered.pending, recovered.stranded) = (0, 0);
        let told =
            self.api.post::<serde::de::IgnoredAny>(&["users", "signout"], &serde_json::json!({})).await;
        self.file.wipe()?;
        let abandoned = self.give_up_all().await?;
        let untold = match told {
            // An answer without data, or a session that was over already, is a sign-out too.
            Ok(_) | Err(Rejected::Unauthorized | Rejected::Foreign(Foreign::Incomplete, _)) => None,
            Err(rejected) => Some(rejected.into()),
        };
        Ok(SignedOut { recovered, abandoned, untold })
    }

    /// Wipes what is pending; its credits stand among the losses from then on.
    async fn give_up_all(&self) -> Result<Abandoned, IdentityError> {
        let abandoned = self.deposits.abandon_all().await?;
        if abandoned.credits > 0 {
            tracing::warn!(
                credits = abandoned.credits,
                "issuances of the account before were given up; `llmtor tokens losses` tells of which models"
            );
        }
        Ok(abandoned)
    }

    async fn finish(&self, recovered: &mut Recovered) -> Result<(), IdentityError> {
        *recovered = self.recover_in_turn().await?;
        self.finish_abuse().await
    }
}
