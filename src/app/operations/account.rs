//! The account and the session, as part of a home.

use crate::control::message::{AccountReport, LoginReport, LogoutReport, SessionState};
use crate::identity::schedule::agenda::News;
use crate::identity::{
    Abandoned, Identity, IdentityError, IdentityUrl, Pace, Parts, Predecessor, Session, SignedIn, SignedOut,
};
use crate::secret::Secret;

use super::{AppError, Operations, Unready, notes, supply};

impl Operations {
    pub(super) async fn account(&self) -> Result<AccountReport, AppError> {
        let _turn = self.turn.lock().await;
        let account = self.identity(Unready::Fails).await?.account().await?;
        // A refusal that was none: the session counts after all.
        let noted = if self.schedule.is_ended().await? {
            self.schedule.signed_in(&account.active).await
        } else {
            self.schedule.credits_seen(&account.active).await
        };
        supply::noted(noted);
        self.told(account)
    }

    pub(super) async fn login(&self, text: &Secret<String>) -> Result<LoginReport, AppError> {
        let _turn = self.turn.lock().await;
        let session = Session::parse(text.expose())?;
        let identity = self.identity_of(session, Unready::Fails).await?;
        let SignedIn { account, predecessor, abandoned } = identity.sign_in().await?;
        supply::noted(self.schedule.signed_in(&account.active).await);
        let mut notes = given_up(abandoned);
        if predecessor == Predecessor::Another && self.census.abuse().await?.permanent.is_some() {
            notes.push(
                "this is another account than before; the abuse tokens obtained under the earlier one stay in use"
                    .to_owned(),
            );
        }
        Ok(LoginReport { name: account.name, email: account.email, credits: account.active, notes })
    }

    pub(super) async fn logout(&self) -> Result<LogoutReport, AppError> {
        let _turn = self.turn.lock().await;
        // The session goes from here in any case.
        if self.passable().is_err() {
            return self.forget_session().await;
        }
        let identity = self.identity(Unready::GoesOn).await?;
        let SignedOut { recovered, abandoned, untold } = identity.sign_out().await?;
        let mut notes = notes(&recovered);
        if recovered.made > 0 {
            notes.insert(0, format!("{} begun earlier were finished first", recovered.made));
        }
        notes.extend(given_up(abandoned));
        Ok(LogoutReport { at_backend: untold.is_none(), notes })
    }

    /// A sign-out that nobody is told of, while nothing may leave.
    async fn forget_session(&self) -> Result<LogoutReport, AppError> {
        self.session_file.load()?.ok_or(IdentityError::NotSignedIn)?;
        self.session_file.wipe()?;
        Ok(LogoutReport { at_backend: false, notes: given_up(self.deposits.abandon_all().await?) })
    }

    /// The session as far as is known here.
    pub(in crate::app) async fn session_state(&self) -> Result<SessionState, AppError> {
        Ok(match (self.home.session_path().exists(), self.schedule.is_ended().await?) {
            (false, _) => SessionState::None,
            (true, false) => SessionState::Held,
            (true, true) => SessionState::Expired,
        })
    }

    /// Remembers that the backend refused the kept session, and says it if that is news.
    pub(super) async fn session_refused(&self) {
        match self.schedule.session_refused().await {
            Ok(News::Yes) => tracing::warn!("{}", IdentityError::SessionExpired),
            Ok(News::No) => {}
            Err(error) => supply::noted(Err(error)),
        }
    }

    /// The identity plane in the kept session.
    pub(super) async fn identity(&self, unready: Unready) -> Result<Identity, AppError> {
        // The way out refuses, too; but what to do first is to resume, not to sign in.
        self.passable()?;
        // Before the session: a home without a backend has neither.
        self.identity_url()?;
        let session = self.session_file.load()?.ok_or(IdentityError::NotSignedIn)?;
        self.identity_of(session, unready).await
    }

    pub(super) async fn identity_of(&self, session: Session, unready: Unready) -> Result<Identity, AppError> {
        let url = self.identity_url()?;
        let (route, deadlines) = self.way.route(&url, unready).await?;
        Ok(Identity::new(Parts {
            url,
            route,
            deadlines,
            pace: Pace { concurrency: self.config.identity.concurrency, ..Pace::default() },
            delay: self.config.identity.delay(),
            session,
            file: self.session_file.clone(),
            keyring: self.keyring(),
            deposits: self.deposits.clone(),
            clock: self.clock.clone(),
            witness: self.way.witness(),
        })?)
    }

    pub(super) fn identity_url(&self) -> Result<IdentityUrl, AppError> {
        let url = self.config.backend.identity_url().ok_or(AppError::NoBackend)?;
        Ok(IdentityUrl::parse(url.as_str())?)
    }
}

/// What the user should know of pending issuances that a sign-in or a sign-out wiped.
fn given_up(Abandoned { credits, abuse }: Abandoned) -> Vec<String> {
    let told = [
        (
            credits,
            "begun under the account that was signed in before were given up: credits already taken for them are \
             lost, the others are still in that account",
        ),
        (
            abuse,
            "abuse token(s) begun under that account were given up: a permanent one may not be issued to it again",
        ),
    ];
    told.into_iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}")).collect()
}
