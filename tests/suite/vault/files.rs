//! The files: who may read them, what is in them, and files that are not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use llmtor::vault::{Doubt, VaultErrorKind};
use llmtor::wire::redemption::Epoch;

use super::*;

/// Every file of the directory with its content.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn found(dir: &Path, needle: &[u8]) -> bool {
    contents(dir).values().any(|content| content.windows(needle.len()).any(|window| window == needle))
}

/// What an onlooker with SQLite sees: the files are copied first, the vault keeps its own to itself.
fn looked_at<T>(place: &Place, look: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>) -> T {
    let copy = tempfile::tempdir().unwrap();
    for (name, content) in contents(place.dir.path()) {
        fs::write(copy.path().join(name), content).unwrap();
    }
    look(&rusqlite::Connection::open(copy.path().join("vault.db")).unwrap()).unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn every_file_is_private_even_after_a_restore_that_was_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let check = || {
        for entry in fs::read_dir(place.dir.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    };
    let vault = place.open();
    stock_up(&vault, 3).await;
    assert_eq!(contents(place.dir.path()).len(), 3, "the file, its log and its mark");
    check();
    vault.close().await.unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let vault = place.open();
    stock_up(&vault, 3).await;
    check();
}

#[tokio::test]
async fn no_token_signature_or_blinding_secret_is_ever_readable_on_disk() {
    let place = Place::new();
    let vault = place.open();
    let (deposits, withdrawals) = (vault.deposits(), vault.withdrawals());
    let clean = |state: &str| {
        assert!(!found(place.dir.path(), b"canary"), "{state}");
        // The search itself works: this much is meant to be readable.
        assert!(found(place.dir.path(), b"gpt-4.1"), "{state}");
    };
    deposits.begin(vec![issuance("1", "canary-token-1"), issuance("2", "canary-token-2")]).await.unwrap();
    clean("blinded");
    for id in ["1", "2"] {
        deposits.finalize(&RequestId(id.into()), signature(), START).await.unwrap();
    }
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    hold_abuse(&vault, AbuseKind::Transient(Epoch::at(START.unix())), "canary-transient").await;
    clean("available");
    let prompt = br#"[{"role":"user","content":"canary-prompt"}]"#;
    let digest = withdrawals.digest(&model(), prompt);
    let reserved = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await.unwrap();
    clean("reserved");
    let presented = withdrawals.present(reserved, digest).await.unwrap();
    clean("presented");
    withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
    clean("in doubt");
    let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
    assert!(resumed.llmmask().token.0.starts_with(b"canary"), "this is what was looked for");
    withdrawals.settle(resumed).await.unwrap();
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.set_aside(presented).await.unwrap();
    clean("settled and refused");
    vault.close().await.unwrap();
    clean("closed");
}

#[tokio::test]
async fn a_settled_row_and_a_finalized_issuance_are_gone_from_the_files_too() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    vault.deposits().begin(vec![issuance("request-id-canary", "canary-token")]).await.unwrap();
    let sealed_of = |table: &str| {
        looked_at(&place, |conn| {
            conn.query_row(&format!("SELECT sealed FROM {table}"), [], |row| row.get::<_, Vec<u8>>(0))
        })
    };
    let issuance_row = sealed_of("issuances");
    vault.deposits().finalize(&RequestId("request-id-canary".into()), signature(), START).await.unwrap();
    let token_row = sealed_of("tokens");
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    for trace in [&token_row[..], b"request-id-canary", &digest.0] {
        assert!(found(place.dir.path(), trace));
    }
    withdrawals.settle(presented).await.unwrap();
    vault.close().await.unwrap();
    for trace in [&token_row[..], &issuance_row, b"request-id-canary", &digest.0] {
        assert!(!found(place.dir.path(), trace));
    }
    assert_eq!(contents(place.dir.path()).len(), 2, "the log is gone");
}

#[tokio::test]
async fn a_superseded_abuse_token_stays_as_long_as_a_token_needs_it_and_is_then_wiped() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    let epoch = Epoch::at(START.unix());
    let next = Epoch::from_number(epoch.number() + 1);
    let held = || {
        looked_at(&place, |conn| {
            conn.query_row("SELECT count(*) FROM abuse_tokens WHERE kind = 'transient'", [], |row| {
                row.get::<_, u32>(0)
            })
        })
    };
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-old").await;
    stock_up(&vault, 1).await;
    let reserved = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await.unwrap();
    let digest = withdrawals.digest(&model(), b"[]");
    drop(withdrawals.present(reserved, digest).await.unwrap());
    hold_abuse(&vault, AbuseKind::Transient(next), "canary-new").await;
    assert_eq!(held(), 2);
    let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
    assert_eq!(resumed.llmmask().transient_abuse_token.as_ref().unwrap().0, b"canary-old");
    withdrawals.settle(resumed).await.unwrap();
    assert_eq!(held(), 1);
    let holdings = holdings(next);
    assert_eq!(vault.census().abuse().await.unwrap(), holdings);
}

#[tokio::test]
async fn row_ids_do_not_tell_the_order_of_issuance() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 64).await;
    let ids: Vec<i64> = looked_at(&place, |conn| {
        conn.prepare("SELECT id FROM tokens")?.query_map([], |row| row.get(0))?.collect()
    });
    // 64 random numbers out of 2^64: a pair closer than 2^32 has odds of one in two million.
    assert!(ids.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1 << 32), "{ids:?}");
}

/// Opens `path`, which must fail with `expected` and leave the directory as it was.
fn refused(place: &Place, expected: &VaultError) {
    let before = contents(place.dir.path());
    let error = open(&place.path(), place.clock.clone()).err().unwrap();
    assert_eq!(&error, expected);
    assert_eq!(error.kind(), VaultErrorKind::File);
    assert!(contents(place.dir.path()) == before, "something was touched");
}

#[test]
fn a_foreign_database_is_left_alone() {
    let place = Place::new();
    let conn = rusqlite::Connection::open(place.path()).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE bookmarks (url TEXT)").unwrap();
    conn.close().unwrap();
    refused(&place, &VaultError::Foreign);
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    for content in [&b""[..], b"x", &[0; 4096], b"SQLite format 3\0 and then nothing"] {
        let place = Place::new();
        fs::write(place.path(), content).unwrap();
        refused(&place, &VaultError::Corrupt);
    }
}

#[tokio::test]
async fn a_newer_vault_is_left_alone() {
    let place = Place::new();
    place.open().close().await.unwrap();
    let conn = rusqlite::Connection::open(place.path()).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    conn.close().unwrap();
    refused(&place, &VaultError::Newer { found: 99, known: 2 });
}

/// `tests/vectors/vault-format-1.db` was made by version 0.1.0 before its vault had a second format: of four tokens one was
/// spent and one is in doubt, one issuance is pending, both abuse tokens are held.
#[tokio::test]
async fn a_vault_of_the_first_format_is_brought_forward_with_everything_in_it() {
    let place = Place::new();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/vault-format-1.db");
    fs::copy(old, place.path()).unwrap();
    let vault = place.open();
    let held = Stock { available: 2, in_doubt: 1, blinded: 1, spent: 1, ..Stock::default() };
    assert_eq!(stock(&vault).await, held);
    assert_eq!(vault.census().abuse().await.unwrap(), holdings(Epoch::at(START.unix())));
    assert!(vault.deposits().habits().await.unwrap().is_empty());
    let withdrawals = vault.withdrawals();
    let resumed = withdrawals.resume(call(), withdrawals.digest(&model(), b"[1]")).await.unwrap().unwrap();
    assert!(resumed.llmmask().token.0.starts_with(b"canary-token"));
    withdrawals.settle(resumed).await.unwrap();
    vault.deposits().finalize(&RequestId("request-id".into()), signature(), START).await.unwrap();
    vault.close().await.unwrap();
    let vault = place.open();
    assert_eq!(stock(&vault).await, Stock { available: 3, spent: 2, ..Stock::default() });
    assert!(
        vault.deposits().habits().await.unwrap().contains_key(&model()),
        "what is spent is noticed from now on"
    );
}

#[tokio::test]
async fn a_damaged_vault_is_left_alone_wherever_the_damage_is() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 200).await;
    vault.close().await.unwrap();
    let whole = fs::read(place.path()).unwrap();
    // Pages that hold nothing may be damaged: that is not noticed, and hurts nothing.
    let free_pages: BTreeSet<usize> = (1..whole.len() / 4096)
        .filter(|page| whole[page * 4096..(page + 1) * 4096].iter().all(|byte| *byte == 0))
        .collect();
    // The head of a page is where SQLite itself can notice damage.
    for page in 0..whole.len() / 4096 {
        let mut damaged = whole.clone();
        let at = page * 4096 + if page == 0 { 100 } else { 0 };
        damaged[at..at + 8].fill(0xff);
        fs::write(place.path(), &damaged).unwrap();
        if free_pages.contains(&page) {
            // It is an older one each time, which is another matter.
            fs::remove_file(place.dir.path().join("vault.db.mark")).unwrap();
            assert_eq!(stock(&place.open()).await.available, 200);
        } else {
            refused(&place, &VaultError::Corrupt);
        }
    }
    fs::write(place.path(), &whole[..whole.len() / 2]).unwrap();
    refused(&place, &VaultError::Corrupt);
    fs::write(place.path(), &whole).unwrap();
    // Opened since with a free page damaged, if there was one: see above.
    drop(fs::remove_file(place.dir.path().join("vault.db.mark")));
    assert_eq!(stock(&place.open()).await.available, 200);
}

#[tokio::test]
async fn another_master_key_is_told_as_such() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    vault.close().await.unwrap();
    let before = contents(place.dir.path());
    let error = Vault::open(&place.path(), keys(2), place.clock.clone()).err().unwrap();
    assert_eq!(error, VaultError::WrongKey);
    assert!(contents(place.dir.path()) == before);
    assert_eq!(stock(&place.open()).await.available, 1);
}

#[tokio::test]
async fn a_log_without_its_file_is_not_taken_for_an_empty_vault() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let log = fs::read(place.dir.path().join("vault.db-wal")).unwrap();
    vault.close().await.unwrap();
    fs::remove_file(place.path()).unwrap();
    fs::write(place.dir.path().join("vault.db-wal"), log).unwrap();
    refused(&place, &VaultError::Orphaned);
}

#[tokio::test]
async fn a_second_opener_is_kept_out() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let error = open(&place.path(), place.clock.clone()).err();
    assert_eq!(error, Some(VaultError::InUse));
    assert_eq!(stock(&vault).await.available, 1);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_says_what_to_do() {
    let place = Place::new();
    let path = place.dir.path().join("missing").join("vault.db");
    let error = open(&path, place.clock.clone()).err().unwrap();
    assert_eq!(error, VaultError::Unwritable);
    assert!(error.to_string().contains("check the permissions"));
}

#[test]
fn what_an_interrupted_first_start_left_behind_is_cleared_away() {
    let place = Place::new();
    fs::write(place.dir.path().join("vault.db.new"), b"half").unwrap();
    fs::write(place.dir.path().join("vault.db.new-wal"), b"half").unwrap();
    drop(place.open());
    assert_eq!(contents(place.dir.path()).len(), 2, "the file and its mark");
}
