//! Tokens one by one: every state has its entry, with its times, and is found by the beginning of its id.

use llmtor::vault::{Doubt, Entry, History, Lookup, PinnedKeys, Standing};

use super::*;

fn pinned() -> PinnedKeys {
    [(model(), key())].into()
}

async fn special(vault: &Vault) -> Vec<Entry> {
    vault.census().special(pinned()).await.unwrap()
}

async fn standings(vault: &Vault) -> Vec<Standing> {
    special(vault).await.into_iter().map(|entry| entry.standing).collect()
}

async fn find(vault: &Vault, digits: &str) -> Lookup {
    vault.census().find(digits, pinned()).await.unwrap()
}

/// The ids of all rows, as an onlooker with SQLite sees them.
fn ids(place: &Place) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(place.dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let conn = rusqlite::Connection::open(copy.path().join("vault.db")).unwrap();
    let mut statement = conn.prepare("SELECT printf('%016x', id) FROM tokens").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn what_is_simply_in_stock_is_not_listed_and_found_all_the_same() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    stock_up_from(&vault, 1, START.plus_seconds(60)).await;
    assert!(special(&vault).await.is_empty());
    let mut found = Vec::new();
    for id in ids(&place) {
        match find(&vault, &id.to_uppercase()).await {
            Lookup::Found(entry) => {
                assert_eq!(entry.id.as_str(), id);
                found.push(entry.standing);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(found.contains(&Standing::Available));
    assert!(found.contains(&Standing::Maturing { from: START.plus_seconds(60) }));
    let other = [(model(), Fingerprint::from_bytes([9; 32]))].into();
    let Lookup::Found(entry) = vault.census().find(&ids(&place)[0], other).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(entry.standing, Standing::OtherKey);
}

#[tokio::test]
async fn every_other_state_is_listed_with_its_times() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    let digest = withdrawals.digest(&model(), b"[]");
    stock_up(&vault, 1).await;
    vault.deposits().begin(vec![issuance("0A1b-2c3d", "pending")]).await.unwrap();
    assert_eq!(standings(&vault).await, [Standing::Blinded { since: Some(START) }]);
    assert!(matches!(find(&vault, "0a1b2c").await, Lookup::Found(_)));
    vault.deposits().abandon(&RequestId("0A1b-2c3d".into())).await.unwrap();

    let reserved = reserve(&vault).await.unwrap();
    assert_eq!(standings(&vault).await, [Standing::Reserved]);
    place.clock.advance(10);
    let since = place.clock.now();
    let presented = withdrawals.present(reserved, digest).await.unwrap();
    assert_eq!(standings(&vault).await, [Standing::Presented { since }]);
    withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
    let until = since.plus_seconds(6 * DAY);
    assert_eq!(standings(&vault).await, [Standing::InDoubt { since, until, doubt: Doubt::Unknown }]);

    // Resumed and given up, the term begins anew.
    place.clock.advance(DAY);
    let since = place.clock.now();
    let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
    withdrawals.doubt(resumed, Doubt::Undelivered).await.unwrap();
    let until = since.plus_seconds(6 * DAY);
    assert_eq!(standings(&vault).await, [Standing::InDoubt { since, until, doubt: Doubt::Undelivered }]);
    place.clock.advance(6 * DAY);
    assert!(special(&vault).await.is_empty(), "wiped");
}

#[tokio::test]
async fn a_token_that_may_be_spent_is_listed_as_such_and_so_is_a_refused_one() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    let digest = withdrawals.digest(&model(), b"[]");
    stock_up(&vault, 1).await;
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
    place.clock.advance(6 * DAY);
    let listed = special(&vault).await;
    assert_eq!((listed[0].standing, listed[0].history), (Standing::Available, History::MaybeSpent));
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.set_aside(presented).await.unwrap();
    assert_eq!(standings(&vault).await, [Standing::Refused]);
}

#[tokio::test]
async fn too_few_digits_too_many_matches_and_no_match_are_told_apart() {
    let place = Place::new();
    let vault = place.open();
    vault.deposits().begin(vec![issuance("abcd-1", "one"), issuance("abcd-2", "two")]).await.unwrap();
    assert_eq!(find(&vault, "abcd").await, Lookup::Ambiguous);
    assert!(matches!(find(&vault, "abcd2").await, Lookup::Found(_)));
    for unknown in ["abc", "", "xyzw", "abcd3", "abcd%", "ab cd"] {
        assert_eq!(find(&vault, unknown).await, Lookup::Unknown, "{unknown}");
    }
}
