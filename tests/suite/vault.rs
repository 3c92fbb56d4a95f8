//! The vault over its public handles: real files, real SQLite, real processes killed for real. Tokens are made
//! up, not signed: the vault does not look inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may")]

mod books;
mod crash;
mod custody;
mod files;
#[cfg(target_os = "linux")]
mod keyring;
mod lifecycle;
mod listing;
mod losses;
mod power;
mod provenance;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmtor::blind::{BlindedMessage, BlindingSecret, Fingerprint, Signature, TokenMessage};
use llmtor::clock::{Clock as _, ManualClock, SharedClock, Timestamp};
use llmtor::secret::Secret;
use llmtor::vault::{
    AbuseHoldings, AbuseKind, AbuseRule, CallId, HeldTransient, NewAbuseIssuance, NewIssuance,
    RecoveryReport, RequestId, Reserved, Stock, Vault, VaultError, VaultKeys,
};
use llmtor::wire::ModelName;
use llmtor::wire::redemption::Epoch;

const DAY: i64 = 24 * 3600;
const START: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A directory with a vault in it that can be closed and opened again.
struct Place {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: ManualClock::shared(START) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vault.db")
    }

    fn open(&self) -> Vault {
        self.open_with_report().0
    }

    fn open_with_report(&self) -> (Vault, RecoveryReport) {
        open(&self.path(), Arc::clone(&self.clock) as SharedClock).unwrap()
    }
}

fn keys(byte: u8) -> VaultKeys {
    VaultKeys { sealing: Secret::new([byte; 32]), digest: Secret::new([byte ^ 0xff; 32]) }
}

fn open(path: &Path, clock: SharedClock) -> Result<(Vault, RecoveryReport), VaultError> {
    Vault::open(path, keys(1), clock)
}

fn model() -> ModelName {
    ModelName::new("gpt-4.1").unwrap()
}

fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn call() -> CallId {
    CallId(u128::from(unique()))
}

fn key() -> Fingerprint {
    Fingerprint::from_bytes([7; 32])
}

fn issuance(request_id: &str, token: &str) -> NewIssuance {
    NewIssuance {
        request_id: RequestId(request_id.into()),
        model: model(),
        key: key(),
        message: TokenMessage::from_bytes(token.into()),
        blinded: BlindedMessage::from_bytes(b"canary-blinded".repeat(18)),
        secret: BlindingSecret::from_bytes(b"canary-secret!".repeat(18)),
        readiness: llmtor::vault::Readiness::Now,
    }
}

fn signature() -> Signature {
    Signature::from_bytes(b"canary-signature".repeat(16))
}

/// `count` tokens, usable from `not_before` on; their texts start with `canary-token`.
async fn stock_up_from(vault: &Vault, count: usize, not_before: Timestamp) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|_| format!("canary-token {}", unique())).collect();
    let batch = names.iter().map(|name| issuance(name, name)).collect();
    vault.deposits().begin(batch).await.unwrap();
    for name in &names {
        vault.deposits().finalize(&RequestId(name.clone()), signature(), not_before).await.unwrap();
    }
    names
}

async fn stock_up(vault: &Vault, count: usize) -> Vec<String> {
    stock_up_from(vault, count, START).await
}

async fn stock(vault: &Vault) -> Stock {
    vault.census().stock().await.unwrap().get(&model()).copied().unwrap_or_default()
}

async fn reserve(vault: &Vault) -> Result<Reserved, VaultError> {
    vault.withdrawals().reserve(call(), &model(), key(), AbuseRule::Omitted).await
}

/// What [`hold_abuse`] of both kinds comes to.
fn holdings(epoch: Epoch) -> AbuseHoldings {
    let key = Fingerprint::from_bytes([8; 32]);
    AbuseHoldings { permanent: Some(key), transient: Some(HeldTransient { epoch, key }) }
}

async fn hold_abuse(vault: &Vault, kind: AbuseKind, token: &str) {
    let new = NewAbuseIssuance {
        kind,
        key: Fingerprint::from_bytes([8; 32]),
        message: TokenMessage::from_bytes(token.into()),
        blinded: BlindedMessage::from_bytes(b"canary-blinded".repeat(18)),
        secret: BlindingSecret::from_bytes(b"canary-secret!".repeat(18)),
    };
    vault.deposits().begin_abuse(new).await.unwrap();
    vault.deposits().finalize_abuse(kind, signature()).await.unwrap();
}
