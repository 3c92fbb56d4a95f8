//! A file that is not the one that was here: put back, copied, without the end of its log, or gone.

use std::fs;

use llmtor::vault::{Custody, History, Provenance, VaultErrorKind};

use super::*;

/// Longer than the tokens of a vault rest that was put back.
const REST: i64 = 901;

/// Presents and settles so many tokens; their texts.
async fn spend(vault: &Vault, count: usize) -> Vec<String> {
    let withdrawals = vault.withdrawals();
    let mut spent = Vec::new();
    for _ in 0..count {
        let digest = withdrawals.digest(&model(), b"[]");
        let presented = withdrawals.present(reserve(vault).await.unwrap(), digest).await.unwrap();
        spent.push(String::from_utf8(presented.llmmask().token.0.clone()).unwrap());
        withdrawals.settle(presented).await.unwrap();
    }
    spent
}

/// What is not the same any more is not drawn at once, and then not trusted.
async fn assert_distrusted(place: &Place, provenance: Provenance, rest: u64) {
    let (vault, report) = place.open_with_report();
    assert_eq!(report.provenance, provenance);
    assert!(matches!(reserve(&vault).await, Err(VaultError::OutOfTokens { .. })));
    assert_eq!(stock(&vault).await.maturing, rest);
    place.clock.advance(REST);
    let withdrawals = vault.withdrawals();
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    assert_eq!(presented.history(), History::MaybeSpent);
    withdrawals.settle(presented).await.unwrap();
    vault.close().await.unwrap();
    let (_vault, report) = place.open_with_report();
    assert_eq!(report.provenance, Provenance::Same, "said once");
}

#[tokio::test]
async fn a_vault_that_is_closed_killed_or_moved_is_the_same() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 9).await;
    spend(&vault, 2).await;
    vault.close().await.unwrap();
    for _ in 0..3 {
        let (vault, report) = place.open_with_report();
        assert_eq!(report.provenance, Provenance::Same);
        spend(&vault, 1).await;
        vault.close().await.unwrap();
    }
    let moved =
        Place { dir: tempfile::tempdir_in(place.dir.path()).unwrap(), clock: Arc::clone(&place.clock) };
    for name in ["vault.db", "vault.db.mark"] {
        fs::rename(place.dir.path().join(name), moved.dir.path().join(name)).unwrap();
    }
    let (vault, report) = moved.open_with_report();
    assert_eq!(report.provenance, Provenance::Same);
    spend(&vault, 4).await;
}

#[tokio::test]
async fn an_older_copy_put_back_is_known_whenever_it_was_made_and_however_it_is_put() {
    for made_while_open in [false, true] {
        for over in [false, true] {
            let place = Place::new();
            let copy = place.dir.path().join("copy");
            let vault = place.open();
            stock_up(&vault, 8).await;
            vault.close().await.unwrap();
            if !made_while_open {
                fs::copy(place.path(), &copy).unwrap();
            }
            let vault = place.open();
            if made_while_open {
                fs::copy(place.path(), &copy).unwrap();
            }
            spend(&vault, 3).await;
            vault.close().await.unwrap();
            if !over {
                fs::remove_file(place.path()).unwrap();
            }
            fs::copy(&copy, place.path()).unwrap();
            assert_distrusted(&place, Provenance::PutBack, 8).await;
        }
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_known_by_the_presentations_that_are_missing() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 8).await;
    vault.close().await.unwrap();
    let vault = place.open();
    let before = fs::read(place.path()).unwrap();
    spend(&vault, 3).await;
    let mark = place.dir.path().join("vault.db.mark");
    let marked = fs::read(&mark).unwrap();
    drop(vault);
    // As after a kill, but for the log.
    fs::write(place.path(), before).unwrap();
    fs::write(&mark, marked).unwrap();
    drop(fs::remove_file(place.dir.path().join("vault.db-wal")));
    assert_distrusted(&place, Provenance::PutBack, 8).await;
}

#[tokio::test]
async fn a_directory_that_was_copied_is_paused_and_the_original_goes_on() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 4).await;
    vault.deposits().begin(vec![issuance("pending", "canary-pending")]).await.unwrap();
    vault.close().await.unwrap();
    for names in [&["vault.db", "vault.db.mark"][..], &["vault.db"]] {
        let copy = Place::new();
        for name in names {
            fs::copy(place.dir.path().join(name), copy.dir.path().join(name)).unwrap();
        }
        let (vault, report) = copy.open_with_report();
        assert_eq!((report.provenance, report.blinded), (Provenance::Copied, 0));
        assert_eq!(reserve(&vault).await.err(), Some(VaultError::NotTakenOver));
        assert_eq!(vault.backups().identification().await.unwrap().custody, Custody::Restored);
        vault.backups().take_over().await.unwrap();
        copy.clock.advance(REST);
        assert!(reserve(&vault).await.is_ok());
    }
    let (vault, report) = place.open_with_report();
    assert_eq!((report.provenance, report.blinded), (Provenance::Same, 1));
    spend(&vault, 4).await;
}

#[tokio::test]
async fn where_a_vault_was_and_is_none_none_is_made() {
    let place = Place::new();
    drop(place.open());
    fs::remove_file(place.path()).unwrap();
    let error = open(&place.path(), Arc::clone(&place.clock) as SharedClock).err().unwrap();
    assert_eq!((&error, error.kind()), (&VaultError::Missing, VaultErrorKind::File));
    assert!(!place.path().exists());
    for words in ["llmtor restore", "vault.db.mark"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    fs::remove_file(place.dir.path().join("vault.db.mark")).unwrap();
    drop(place.open());
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_taken_away_or_replaced_stops_the_vault_until_it_is_back() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 3).await;
    let aside = place.dir.path().join("aside");
    fs::rename(place.path(), &aside).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::copy(&aside, place.path()).unwrap();
        }
        assert_eq!(reserve(&vault).await.err(), Some(VaultError::Displaced));
        let begun = vault.deposits().begin(vec![issuance("id", "canary-token")]).await;
        assert_eq!(begun, Err(VaultError::Displaced));
        assert!(vault.backups().identification().await.unwrap().displaced);
    }
    // What is in it can still be saved.
    assert!(vault.backups().snapshot(llmtor::vault::backups::Source::Kept).await.is_ok());
    fs::rename(&aside, place.path()).unwrap();
    spend(&vault, 1).await;
    vault.close().await.unwrap();
    assert_eq!(place.open_with_report().1.provenance, Provenance::Same);
}
