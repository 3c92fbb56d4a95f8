//! Selling: packages, checkouts, what payment providers report, and vouchers.
//!
//! ```text
//! /me ──── transient token ──→ /purchase ──→ /purchase/checkout/REFERENCE (whose it is, is in the ledger alone)
//!                                  │
//!                           provider's checkout, told the reference and nothing else of the account
//!                                  │
//! credits ←── books ←── signed webhook (paddle, dodo)
//! credits ←── vouchers ←── /voucher
//! ```
//!
//! Invariants: a payment and its credits are one commit, and once per transaction; what a sequence of webhooks comes to
//! depends neither on their order nor on how often each comes ([`books`]); nothing is credited for money that does not
//! match a package; nothing is taken back that was spent. A voucher is kept as its hash, and which account redeemed it is
//! not kept at all. A transient token lives five minutes in memory, as its hash.
//!
//! Deliberately absent: any call to a payment provider (the backend only listens), card data, invoices, subscriptions.

pub(super) mod books;
mod dodo;
mod event;
mod guesses;
mod paddle;
pub(super) mod settings;
mod transient;
pub(super) mod vouchers;

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use rand::CryptoRng;

use self::books::Books;
use self::dodo::Dodo;
use self::event::Catalog;
use self::guesses::Guesses;
use self::paddle::Paddle;
use self::transient::Transients;
use self::vouchers::{Redemption, Vouchers};
use super::ledger::AccountId;
use super::settings::{PackageSettings, Settings, SettingsError, StoreSettings};
use super::sqlite::{Database, StoreError};
use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::wire::ModelName;
use crate::wire::identity::{DODO_PARAMETER, PACKAGE_PARAMETER, PADDLE_PARAMETER};
use crate::wire::voucher::{VoucherCode, VoucherRefusal};

pub use books::{HeldBecause, Sale, SaleState};
pub use event::Provider;
pub(super) use event::{Unread, Unsigned};
pub(super) use guesses::Guesser;
pub use vouchers::{Voucher, VoucherState};

/// Added later: what a checkout was opened for.
pub(super) const CHECKOUTS_OF_A_PACKAGE: &str =
    "ALTER TABLE checkouts ADD COLUMN package TEXT NOT NULL DEFAULT '';";

/// What a ledger needs for it.
pub(super) const SCHEMA: &str = "
    CREATE TABLE checkouts (
        reference TEXT PRIMARY KEY,
        account TEXT NOT NULL REFERENCES accounts,
        opened_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX checkouts_of_account ON checkouts (account, opened_at);
    CREATE TABLE sales (
        provider TEXT NOT NULL,
        id TEXT NOT NULL,
        account TEXT REFERENCES accounts,
        held TEXT,
        total INTEGER NOT NULL,
        currency TEXT NOT NULL,
        seen_at INTEGER NOT NULL,
        PRIMARY KEY (provider, id)
    ) STRICT;
    CREATE TABLE sold (
        provider TEXT NOT NULL,
        sale TEXT NOT NULL,
        model TEXT NOT NULL,
        credits INTEGER NOT NULL CHECK (credits > 0),
        due_back INTEGER NOT NULL DEFAULT 0 CHECK (due_back BETWEEN 0 AND credits),
        taken_back INTEGER NOT NULL DEFAULT 0 CHECK (taken_back BETWEEN 0 AND due_back),
        PRIMARY KEY (provider, sale, model),
        FOREIGN KEY (provider, sale) REFERENCES sales
    ) STRICT;
    CREATE TABLE reversals (
        provider TEXT NOT NULL,
        id TEXT NOT NULL,
        sale TEXT NOT NULL,
        amount INTEGER,
        standing INTEGER NOT NULL CHECK (standing BETWEEN 0 AND 2),
        PRIMARY KEY (provider, id)
    ) STRICT;
    CREATE TABLE webhooks (
        provider TEXT NOT NULL,
        id TEXT NOT NULL,
        seen_at INTEGER NOT NULL,
        PRIMARY KEY (provider, id)
    ) STRICT;
    CREATE TABLE vouchers (
        sha256 BLOB PRIMARY KEY,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'used', 'revoked'))
    ) STRICT;
    CREATE TABLE voucher_credits (
        voucher BLOB NOT NULL REFERENCES vouchers,
        model TEXT NOT NULL,
        credits INTEGER NOT NULL CHECK (credits > 0),
        PRIMARY KEY (voucher, model)
    ) STRICT;
";

/// Everything that is sold, and to whom.
pub(super) struct Store {
    packages: Vec<PackageSettings>,
    books: Books,
    vouchers: Vouchers,
    transients: Transients,
    guesses: Guesses,
    /// Or why a webhook cannot be judged.
    sellers: Result<Sellers, String>,
    clock: SharedClock,
}

/// Who vouches for the webhooks of each provider that is configured.
struct Sellers {
    paddle: Option<Paddle>,
    dodo: Option<Dodo>,
}

impl Sellers {
    fn new(store: &StoreSettings, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let secret = |name: &String| {
            environment(name).filter(|text| !text.is_empty()).map(Secret::new).ok_or_else(|| {
                format!(
                    "the environment variable `{name}`, which backend.toml names for a webhook's secret, is not set: set it \
                     to the secret that the payment provider shows, or leave the provider out"
                )
            })
        };
        let secrets = |names: &[String]| names.iter().map(secret).collect::<Result<Vec<_>, _>>();
        let tolerance = i64::from(store.tolerance_seconds);
        let paddle = store.paddle.as_ref().map(|paddle| secrets(&paddle.webhook_secret_envs));
        let dodo = store.dodo.as_ref().map(|dodo| secrets(&dodo.webhook_secret_envs));
        let dodo = dodo.transpose()?.map(|secrets| Dodo::new(&secrets, tolerance));
        Ok(Self {
            paddle: paddle.transpose()?.map(|secrets| Paddle::new(secrets, tolerance)),
            dodo: dodo.transpose().map_err(|error| error.to_string())?,
        })
    }
}

/// What became of a webhook that is signed and can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// In the books, or nothing to them.
    Noted,
    /// In the books, and not credited: its host has to look.
    Held,
}

/// Why a webhook counts for nothing.
pub(super) enum Deaf {
    /// No such provider is configured.
    NotConfigured,
    /// Not the provider's word.
    Unsigned(Unsigned),
    /// The provider's word, but not understood.
    Unread(Unread),
    /// The books.
    Store(StoreError),
}

impl Store {
    /// Over the ledger's own file. A secret that is not in the environment is no error yet: only who serves needs it.
    pub(super) fn open(
        settings: &Settings,
        database: Database,
        clock: SharedClock,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let sellers = Sellers::new(&settings.store, environment);
        Self {
            packages: settings.packages.clone(),
            books: Books::new(database.clone(), Catalog::new(&settings.packages)),
            vouchers: Vouchers::new(database),
            transients: Transients::new(clock.clone()),
            guesses: Guesses::new(clock.clone()),
            sellers,
            clock,
        }
    }

    /// Whether every provider's webhooks can be told from forged ones.
    pub(super) fn check_secrets(&self) -> Result<(), SettingsError> {
        self.sellers.as_ref().map(drop).map_err(|text| SettingsError::Meaning(text.clone()))
    }

    /// What is offered.
    pub(super) fn packages(&self) -> &[PackageSettings] {
        &self.packages
    }

    /// The package that a parameter of `/purchase` names.
    pub(super) fn package(&self, parameter: &str, value: &str) -> Option<&PackageSettings> {
        self.packages.iter().find(|package| match parameter {
            PADDLE_PARAMETER => package.paddle_price_id.as_deref() == Some(value),
            DODO_PARAMETER => package.dodo_product_id.as_deref() == Some(value),
            PACKAGE_PARAMETER => package.id == value,
            _ => false,
        })
    }

    /// A token for `/purchase`.
    pub(super) fn transient_token(&self, account: &AccountId, rng: &mut impl CryptoRng) -> String {
        self.transients.issue(account, rng)
    }

    /// Whose token it is: `claimed`'s, or nobody's.
    pub(super) fn buyer(&self, claimed: &str, token: &str) -> Option<AccountId> {
        self.transients.owner(claimed, token)
    }

    /// Opens a checkout of `account` for `package`; durable. Its reference is random, and all that the payment provider is
    /// told of it: `proposed`, or that of one just opened for the same, or of the last one where the account has opened
    /// many today. So a page that is loaded again, or ahead of a click, changes nothing.
    pub(super) async fn open_checkout(
        &self,
        proposed: String,
        account: AccountId,
        package: &PackageSettings,
    ) -> Result<String, StoreError> {
        self.books.open_checkout(proposed, account, package.id.clone(), self.clock.now()).await
    }

    /// Whether a checkout has this reference.
    pub(super) async fn has_checkout(&self, reference: String) -> Result<bool, StoreError> {
        self.books.has_checkout(reference).await
    }

    /// Takes a webhook of `provider`.
    pub(super) async fn hear(
        &self,
        provider: Provider,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Heard, Deaf> {
        let now = self.clock.now();
        let sellers = self.sellers.as_ref().map_err(|_| Deaf::NotConfigured)?;
        let event = match provider {
            Provider::Paddle => {
                let paddle = sellers.paddle.as_ref().ok_or(Deaf::NotConfigured)?;
                paddle.verify(headers, body, now).map_err(Deaf::Unsigned)?;
                paddle::read(body).map_err(Deaf::Unread)?
            }
            Provider::Dodo => {
                let dodo = sellers.dodo.as_ref().ok_or(Deaf::NotConfigured)?;
                let id = dodo.verify(headers, body, now).map_err(Deaf::Unsigned)?;
                dodo::read(id, body).map_err(Deaf::Unread)?
            }
        };
        self.books.record(event, now).await.map_err(Deaf::Store)
    }

    /// Turns a voucher into credits of `account`. A code that does not add up counts as a guess like any other wrong one.
    pub(super) async fn redeem(
        &self,
        code: Option<&VoucherCode>,
        account: AccountId,
        guesser: Guesser,
    ) -> Result<Result<Redemption, VoucherRefusal>, StoreError> {
        if self.guesses.is_spent(&guesser) {
            return Ok(Err(VoucherRefusal::TooMany));
        }
        let redeemed = match code {
            Some(code) => self.vouchers.redeem(code.sha256(), account, self.clock.now()).await?,
            None => Err(VoucherRefusal::Unknown),
        };
        if redeemed == Err(VoucherRefusal::Unknown) {
            self.guesses.count(&guesser);
        }
        Ok(redeemed)
    }

    /// Makes vouchers; blocks for a moment.
    pub(super) fn create_vouchers(
        &self,
        credits: &BTreeMap<ModelName, i64>,
        count: u32,
        days: Option<u32>,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<VoucherCode>, StoreError> {
        let codes: Vec<_> = (0..count).map(|_| VoucherCode::generate(rng)).collect();
        let hashes = codes.iter().map(VoucherCode::sha256).collect();
        let now = self.clock.now();
        let expires = days.map(|days| now.plus_seconds(i64::from(days) * 86_400));
        self.vouchers.create(hashes, credits, now, expires)?;
        Ok(codes)
    }

    /// Every voucher; blocks for a moment.
    pub(super) fn vouchers(&self) -> Result<Vec<Voucher>, StoreError> {
        self.vouchers.list(self.clock.now())
    }

    /// Takes back the open vouchers whose id begins so; how many there were. Blocks for a moment.
    pub(super) fn revoke_voucher(&self, id: &str) -> Result<usize, StoreError> {
        self.vouchers.revoke(id)
    }

    /// Every sale; blocks for a moment.
    pub(super) fn sales(&self) -> Result<Vec<Sale>, StoreError> {
        self.books.list()
    }

    /// Drops what is too old to matter; called now and then.
    pub(super) async fn forget_old(&self) {
        self.transients.forget_old();
        if let Err(error) = self.books.forget_old(self.clock.now()).await {
            tracing::warn!(%error, "old webhooks could not be forgotten; it is tried again");
        }
    }
}
