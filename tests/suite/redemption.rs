//! Redemption against a scripted backend: real sockets, a real vault file. Tokens are made up, not signed: the
//! script says what the backend thinks of them.

mod copies;
mod doubt;
mod parking;
mod pauses;
mod sharing;
mod table;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use llmtor::anonymous::redeem::{
    Asking, Attempt, Deadlines, Delivery, Limits, ParkingRules, Prompt, RedeemError, Redeemer, Settings,
};
use llmtor::anonymous::transport::loopback::Loopback;
use llmtor::blind::{BlindedMessage, BlindingSecret, Fingerprint, Signature, TokenMessage};
use llmtor::clock::{ManualClock, SharedClock, Timestamp};
use llmtor::secret::Secret;
use llmtor::vault::{
    AbuseKind, AbuseRule, NewAbuseIssuance, NewIssuance, RequestId, Stock, Vault, VaultKeys,
};
use llmtor::wire::ModelName;
use llmtor::wire::redemption::Epoch;
use serde_json::json;
use serde_json::value::RawValue;

use crate::support::scripted::Scripted;

const START: Timestamp = Timestamp::from_unix(1_800_000_000);

fn model() -> ModelName {
    ModelName::new("gpt-4.1").unwrap()
}

fn key() -> Fingerprint {
    Fingerprint::from_bytes([7; 32])
}

fn prompt(text: &str) -> Prompt {
    let messages = json!([{"role": "user", "content": text}]).to_string();
    Prompt { model: model(), messages: RawValue::from_string(messages).unwrap() }
}

fn first() -> Asking {
    Asking::new(Attempt::First)
}

fn retry() -> Asking {
    Asking::new(Attempt::Retry)
}

/// Short deadlines: what hangs here hangs on purpose.
fn settings() -> Settings {
    settings_at(&ManualClock::shared(START))
}

/// Only tokens of [`key`] are drawn.
fn settings_at(clock: &Arc<ManualClock>) -> Settings {
    let keys = [(model(), key())].into();
    Settings {
        deadlines: Deadlines {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_millis(300),
            call: Duration::from_secs(30),
            pause: Duration::from_millis(1),
        },
        limits: Limits { answer: 1 << 20, attempts: 4, ..Limits::default() },
        ..Settings::new(AbuseRule::Required, keys, Arc::clone(clock) as SharedClock)
    }
}

/// A vault, a backend and a redeemer between them.
struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    vault: Vault,
    backend: Scripted,
    redeemer: Arc<Redeemer>,
}

impl Bench {
    /// With so many tokens, and both abuse tokens.
    async fn new(tokens: usize, backend: Scripted) -> Self {
        Self::with(tokens, backend, settings()).await
    }

    async fn with(tokens: usize, backend: Scripted, settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::shared(START);
        let settings = Settings { clock: Arc::clone(&clock) as SharedClock, ..settings };
        let vault = open(&dir, &clock);
        stock_up(&vault, tokens).await;
        let redeemer = redeemer(&vault, &backend, settings);
        Self { dir, clock, vault, backend, redeemer }
    }

    async fn redeem(&self, text: &str) -> Result<Delivery, RedeemError> {
        self.redeemer.redeem(prompt(text), first()).await
    }

    /// The answer's text, delivered.
    async fn ask(&self, text: &str) -> Result<String, RedeemError> {
        let delivery = self.redeem(text).await?;
        let text = String::from_utf8(delivery.answer().body.clone()).unwrap();
        delivery.delivered();
        Ok(text)
    }

    async fn stock(&self) -> Stock {
        self.vault.census().stock().await.unwrap().get(&model()).copied().unwrap_or_default()
    }

    /// Until the stock is `expected`; says what it is if it never is.
    async fn expect_stock(&self, what: &str, expected: [u64; 4]) {
        let mut found = [0; 4];
        for _ in 0..500 {
            let stock = self.stock().await;
            found = [stock.available, stock.in_doubt, stock.refused, stock.spent];
            if found == expected && stock.presented + stock.reserved == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        panic!("{what}: available, in doubt, refused, spent are {found:?}, not {expected:?}");
    }

    /// One token is in a call's hands, and stays there.
    async fn expect_presented(&self) {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(self.stock().await.presented, 1);
    }

    /// Closes the vault and opens it again, as a restart does; another backend may stand there now.
    async fn restart(self, backend: Scripted) -> Self {
        let Self { dir, clock, vault, redeemer, .. } = self;
        drop(redeemer);
        vault.close().await.unwrap();
        let vault = open(&dir, &clock);
        let redeemer = self::redeemer(&vault, &backend, settings_at(&clock));
        Self { dir, clock, vault, backend, redeemer }
    }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Vault {
    let keys = VaultKeys { sealing: Secret::new([1; 32]), digest: Secret::new([2; 32]) };
    Vault::open(&dir.path().join("vault.db"), keys, Arc::clone(clock) as SharedClock).unwrap().0
}

fn redeemer(vault: &Vault, backend: &Scripted, settings: Settings) -> Arc<Redeemer> {
    let transport = Arc::new(Loopback::new(&backend.url()).unwrap());
    Redeemer::new(vault.withdrawals(), transport, settings)
}

async fn stock_up(vault: &Vault, count: usize) {
    let deposits = vault.deposits();
    let mut rng = rand::rng();
    let ids: Vec<String> = (0..count).map(|n| format!("request {n} {}", rand::random::<u64>())).collect();
    let batch = ids.iter().map(|id| NewIssuance {
        request_id: RequestId(id.clone()),
        model: model(),
        key: key(),
        message: TokenMessage::credit(&mut rng),
        blinded: BlindedMessage::from_bytes(vec![1; 256]),
        secret: BlindingSecret::from_bytes(vec![2; 256]),
        readiness: llmtor::vault::Readiness::Now,
    });
    deposits.begin(batch.collect()).await.unwrap();
    for id in ids {
        deposits.finalize(&RequestId(id), Signature::from_bytes(vec![3; 256]), START).await.unwrap();
    }
    rotate_abuse(vault, AbuseKind::Permanent).await;
    rotate_abuse(vault, AbuseKind::Transient(Epoch::at(START.unix()))).await;
}

async fn rotate_abuse(vault: &Vault, kind: AbuseKind) {
    let deposits = vault.deposits();
    let message = match kind {
        AbuseKind::Permanent => TokenMessage::permanent_abuse(&mut rand::rng()),
        AbuseKind::Transient(epoch) => TokenMessage::transient_abuse(&mut rand::rng(), epoch),
    };
    let issuance = NewAbuseIssuance {
        kind,
        key: Fingerprint::from_bytes([8; 32]),
        message,
        blinded: BlindedMessage::from_bytes(vec![4; 256]),
        secret: BlindingSecret::from_bytes(vec![5; 256]),
    };
    deposits.begin_abuse(issuance).await.unwrap();
    deposits.finalize_abuse(kind, Signature::from_bytes(vec![6; 256])).await.unwrap();
}

fn parking(time: Duration) -> Settings {
    Settings { parking: ParkingRules { time, ..ParkingRules::default() }, ..settings() }
}
