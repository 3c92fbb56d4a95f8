//! Pausing and resuming: kept in the home first, then told to everybody who would let something leave.

use tokio_util::sync::CancellationToken;

use crate::control::message::PassageReport;
use crate::passage::{Gate, Passage};

use super::{AppError, Operations};

impl Operations {
    /// Whether anything may leave.
    pub(in crate::app) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns when the identity plane is doing nothing, and keeps it so.
    pub(in crate::app) async fn quiet(&self) -> impl Sized + '_ {
        (self.turn.lock().await, self.abuse_turn.lock().await, self.looks.write().await)
    }

    /// Refuses while nothing may leave.
    pub(super) fn passable(&self) -> Result<(), AppError> {
        self.way.passable()
    }

    /// Runs `work`, which ends early and well when its token is cancelled: by `stop`, or by a pause.
    pub(super) async fn until_paused<W: Future>(
        &self,
        stop: &CancellationToken,
        work: impl FnOnce(CancellationToken) -> W,
    ) -> W::Output {
        let stop = stop.child_token();
        let paused = async {
            self.gate.shut().await;
            stop.cancel();
            std::future::pending().await
        };
        tokio::select! {
            output = work(stop.clone()) => output,
            never = paused => never,
        }
    }

    pub(super) fn set_passage(&self, passage: Passage) -> Result<PassageReport, AppError> {
        let before = self.gate.told();
        self.home.keep_passage(passage)?;
        self.gate.set(passage);
        if before != passage {
            match passage {
                Passage::Paused => tracing::info!("paused: nothing leaves until `llmtor resume`"),
                Passage::Open => tracing::info!("resumed"),
            }
        }
        Ok(PassageReport { passage, before })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::sync::watch;

    use super::*;
    use crate::backup::Overwrite;
    use crate::config::Layers;
    use crate::control::Operation;
    use crate::control::message::backup::{
        AbuseBackupOrder, AbuseRestoreOrder, BackupOrder, Held, LockOrder, SourceOrder,
    };
    use crate::control::message::{ChangedKey, OtherAccount, Readiness, SecretText};
    use crate::datadir::Home;
    use crate::secret::Secret;
    use crate::wire::voucher::VoucherCode;

    /// What becomes of an operation while llmtor is paused.
    #[derive(Debug, PartialEq)]
    enum WhilePaused {
        /// It would reach out.
        Refused,
        /// It stays on this machine, whatever comes of it.
        Local,
        /// It would reach out, but stops before: there are no abuse tokens and no keys in this home.
        Stops,
    }

    /// A place in the table and what is expected. No wildcard: whoever adds an operation decides here.
    fn expected(operation: &Operation) -> (usize, WhilePaused) {
        use WhilePaused::{Local, Refused, Stops};
        match operation {
            Operation::Tokens => (0, Local),
            Operation::Explain { .. } => (1, Local),
            Operation::Losses => (2, Local),
            Operation::ForgetLosses => (3, Local),
            Operation::Status => (4, Local),
            Operation::Watch { .. } => (5, Local),
            Operation::Mint { .. } => (6, Refused),
            Operation::Account => (7, Refused),
            Operation::Offers => (8, Refused),
            Operation::Checkout { .. } => (9, Refused),
            Operation::Voucher { .. } => (10, Refused),
            Operation::AbuseSetup => (11, Refused),
            Operation::AbuseStatus => (12, Local),
            Operation::AbuseRotate => (13, Refused),
            Operation::AbuseBackup(_) => (14, Stops),
            Operation::AbuseRestore(_) => (15, Stops),
            Operation::Backup(_) => (16, Local),
            Operation::TakeOver { .. } => (17, Local),
            Operation::Login { .. } => (18, Refused),
            // It forgets the session here, and tells nobody.
            Operation::Logout => (19, Local),
            Operation::KeysImport { .. } => (20, Local),
            Operation::KeysList => (21, Local),
            Operation::NewIdentity => (22, Local),
            Operation::Pause => (23, Local),
            Operation::Resume => (24, Local),
            Operation::Doctor => (25, Local),
            Operation::OpenPage => (26, Local),
            // For after the pause.
            Operation::AbuseRotateLater => (27, Local),
        }
    }

    /// One of each; [`Operation::Resume`] last.
    fn all(room: &std::path::Path) -> Vec<Operation> {
        let secret = |text: &str| SecretText(Secret::new(text.to_owned()));
        vec![
            Operation::Tokens,
            Operation::Explain { id: "00".into() },
            Operation::Losses,
            Operation::ForgetLosses,
            Operation::Status,
            Operation::Watch { last: None },
            Operation::Mint { model: "gpt-4.1".parse().unwrap(), count: 1, readiness: Readiness::Now },
            Operation::Account,
            Operation::Offers,
            Operation::Checkout { package: "small".into(), redirect: None },
            Operation::Voucher { code: SecretText(VoucherCode::generate(&mut rand::rng()).text()) },
            Operation::AbuseSetup,
            Operation::AbuseStatus,
            Operation::AbuseRotate,
            Operation::AbuseRotateLater,
            Operation::AbuseBackup(AbuseBackupOrder {
                path: None,
                passphrase: secret("correct horse battery staple"),
                overwrite: Overwrite::Refuse,
            }),
            Operation::AbuseRestore(AbuseRestoreOrder {
                text: None,
                passphrase: secret("correct horse battery staple"),
                held: Held::Keep,
            }),
            Operation::Backup(BackupOrder {
                path: room.join("vault.age"),
                lock: LockOrder::Recipients(Vec::new()),
                overwrite: Overwrite::Refuse,
                source: SourceOrder::Kept,
            }),
            Operation::TakeOver { sentence: String::new() },
            Operation::Login { session: secret(SESSION), other: OtherAccount::Refuse },
            Operation::Logout,
            Operation::KeysImport { files: Vec::new(), changed: ChangedKey::Refuse },
            Operation::KeysList,
            Operation::NewIdentity,
            Operation::OpenPage,
            Operation::Doctor,
            Operation::Pause,
            Operation::Resume,
        ]
    }

    const SESSION: &str = "01234567-89ab-4def-8123-456789abcdef";

    #[tokio::test]
    async fn while_paused_no_operation_reaches_the_backend_and_whatever_would_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        backend.set_nonblocking(true).unwrap();
        for transport in ["direct", "tor"] {
            let mut layers = Layers::defaults();
            layers.set(&format!("backend.identity_url=http://{}", backend.local_addr().unwrap())).unwrap();
            layers.set(&format!("identity.transport={transport}")).unwrap();
            layers.set("vault.key_store=file").unwrap();
            let home = Home::open(&room.path().join(transport)).unwrap();
            home.keep_passage(Passage::Paused).unwrap();
            let lock = home.lock().unwrap();
            let operations = Operations::open(&home, &lock, &layers.finish().unwrap()).await.unwrap();
            let session = crate::identity::Session::parse(SESSION).unwrap();
            operations.session_file.store(&session, "alice", &mut rand::rng()).unwrap();
            let mut seen = Vec::new();
            for operation in all(room.path()) {
                let (place, expected) = expected(&operation);
                let result = operations.dispatch(operation, watch::channel(None).0).await;
                let is_paused = matches!(result, Err(AppError::Paused));
                assert_eq!(is_paused, expected == WhilePaused::Refused, "operation {place} over {transport}");
                assert!(expected != WhilePaused::Stops || result.is_err(), "operation {place}");
                seen.push(place);
            }
            assert!(!home.session_path().exists(), "signed out here, though nobody was told");
            seen.sort_unstable();
            assert_eq!(seen, (0..=27).collect::<Vec<_>>(), "each operation once");
            operations.close().await.unwrap();
        }
        let came = backend.accept().map(drop);
        assert_eq!(came.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody reached the backend");
    }
}
