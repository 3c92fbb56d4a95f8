//! The account and the session, as part of a home.

use crate::control::message::{AccountReport, LoginReport, LogoutReport, OtherAccount, SessionState};
use crate::identity::schedule::agenda::News;
use crate::identity::{
    Abandoned, Admit, Identity, IdentityError, IdentityUrl, Pace, Parts, Predecessor, Session, SignedIn,
    SignedOut,
};
use crate::secret::Secret;
use crate::vault::Note;

use super::{AppError, Operations, Unready, notes, supply};

impl Operations {
    pub(super) async fn account(&self) -> Result<AccountReport, AppError> {
        let _turn = self.turn.lock().await;
        let account = self.identity(Unready::Fails).await?.account().await?;
        // A refusal that was none: the session counts after all.
        let noted = if self.schedule.is_ended().await? {
            self.schedule.signed_in(&account.active).await
        } else {
            self.schedule.account_seen(&account.active).await
        };
        supply::noted(noted);
        self.told(account)
    }

    pub(super) async fn login(
        &self,
        text: &Secret<String>,
        other: OtherAccount,
    ) -> Result<LoginReport, AppError> {
        let _turn = self.turn.lock().await;
        let session = Session::parse(text.expose())?;
        let identity = self.identity_of(session, Unready::Fails).await?;
        let is_something_held = self.holds_something().await?;
        let admit = match other {
            OtherAccount::Refuse if is_something_held => Admit::Owner,
            OtherAccount::Refuse | OtherAccount::Take => Admit::Anybody,
        };
        let SignedIn { account, predecessor: _, owner, abandoned } = identity.sign_in(admit).await?;
        supply::noted(self.schedule.signed_in(&account.active).await);
        let mut notes = given_up(abandoned);
        if is_something_held && let Some(note) = whose(owner) {
            notes.push(note.to_owned());
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
        self.forget_owner_of_nothing().await?;
        Ok(LogoutReport { at_backend: untold.is_none(), notes })
    }

    /// Whether there are tokens here that tie calls to whoever used this home before.
    async fn holds_something(&self) -> Result<bool, AppError> {
        let abuse = self.census.abuse().await?;
        let stock = self.census.stock().await?;
        Ok(abuse.permanent.is_some()
            || abuse.transient.is_some()
            || stock.values().any(|stock| stock.held() > 0))
    }

    async fn forget_owner_of_nothing(&self) -> Result<(), AppError> {
        if !self.holds_something().await? {
            self.deposits.keep_note(Note::Owner, Secret::new(Vec::new())).await?;
        }
        Ok(())
    }

    /// A sign-out that nobody is told of, while nothing may leave.
    async fn forget_session(&self) -> Result<LogoutReport, AppError> {
        self.session_file.load()?.ok_or(IdentityError::NotSignedIn)?;
        self.session_file.wipe()?;
        let notes = given_up(self.deposits.abandon_all().await?);
        self.forget_owner_of_nothing().await?;
        Ok(LogoutReport { at_backend: false, notes })
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
            gate: self.gate.clone(),
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

/// What the user should know of what is held here, if it is not this account's for certain.
fn whose(owner: Predecessor) -> Option<&'static str> {
    match owner {
        Predecessor::Same => None,
        Predecessor::Another => Some(
            "the tokens and abuse tokens that are here were obtained as another account and stay in use: calls paid by either \
             can be seen to be one user's",
        ),
        Predecessor::Unknown => Some(
            "it cannot be told whether the tokens and abuse tokens that are here were obtained as this account; they stay in \
             use. If it was another one, and the two must not be connected, run `llmtor logout` and give this account a home \
             of its own (--home DIR)",
        ),
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
