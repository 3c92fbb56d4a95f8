//! Tests from the inside: guards that the handles make unreachable, the grouping, failed commits.

mod batches;
mod guards;

use std::sync::Arc;

use super::books::Books;
use super::thread::Durability;
use super::*;
use crate::blind::Signature;
use crate::clock::ManualClock;

/// An open vault in a directory of its own.
struct Scene {
    _dir: tempfile::TempDir,
    vault: Vault,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = VaultKeys { sealing: Secret::new([1; 32]), digest: Secret::new([2; 32]) };
        let clock: Arc<ManualClock> = ManualClock::shared(Timestamp::from_unix(1_800_000_000));
        let (vault, _) = Vault::open(&dir.path().join("vault.db"), keys, clock).unwrap();
        Self { _dir: dir, vault }
    }

    async fn with_tokens(count: usize) -> Self {
        let scene = Self::new();
        let batch: Vec<NewIssuance> = (0..count).map(issuance).collect();
        let ids: Vec<RequestId> = batch.iter().map(|new| new.request_id.clone()).collect();
        scene.vault.deposits().begin(batch).await.unwrap();
        for id in ids {
            let signature = Signature::from_bytes(vec![3; 256]);
            scene.vault.deposits().finalize(&id, signature, Timestamp::from_unix(0)).await.unwrap();
        }
        scene
    }

    /// Runs `work` on the vault thread.
    async fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Books) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        self.vault.mailbox.call(Durability::Relaxed, work).await
    }

    async fn stock(&self) -> Stock {
        self.vault.census().stock().await.unwrap().get(&model()).copied().unwrap_or_default()
    }
}

fn model() -> ModelName {
    ModelName::new("gpt-4.1").unwrap()
}

fn key() -> Fingerprint {
    Fingerprint::from_bytes([0; 32])
}

fn issuance(number: usize) -> NewIssuance {
    NewIssuance {
        request_id: RequestId(format!("request {number}")),
        model: model(),
        key: key(),
        message: TokenMessage::from_bytes(format!("token {number}").into_bytes()),
        blinded: BlindedMessage::from_bytes(vec![1; 256]),
        secret: BlindingSecret::from_bytes(vec![2; 256]),
        readiness: Readiness::Now,
    }
}
