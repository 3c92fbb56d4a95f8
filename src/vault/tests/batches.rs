//! Group commit: what shares a commit, and what happens when one fails.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Poll;

use futures_util::future::join_all;

use super::*;

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Polls once, so that the operation is queued; it must not be answered yet.
async fn queued<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Pending<'a, T> {
    let mut future: Pending<'a, T> = Box::pin(future);
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    future
}

/// Keeps the vault thread busy until the returned sender is dropped.
async fn hold(scene: &Scene) -> (mpsc::Sender<()>, Pending<'_, Result<(), VaultError>>) {
    let (go, gone) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel();
    let busy = queued(scene.inside(move |_| {
        started.send(()).unwrap();
        // Ends with an error when the other half is dropped.
        assert!(gone.recv().is_err());
        Ok(())
    }))
    .await;
    start.recv().unwrap();
    (go, busy)
}

async fn commits(scene: &Scene) -> u64 {
    scene.inside(|books| Ok(books.commits())).await.unwrap()
}

/// The commit of this very operation is the first that fails.
async fn fail_next_commits(scene: &Scene, count: u32) -> Result<(), VaultError> {
    let set = move |books: &mut Books| {
        books.faults.store(count, Ordering::SeqCst);
        Ok(())
    };
    scene.inside(set).await
}

const DIGEST: RequestDigest = RequestDigest([9; 32]);

#[tokio::test]
async fn what_is_queued_during_a_commit_shares_the_next_one() {
    let scene = Scene::with_tokens(64).await;
    let withdrawals = scene.vault.withdrawals();
    let before = commits(&scene).await;
    let (go, busy) = hold(&scene).await;
    let name = model();
    let mut draws = Vec::new();
    for call in 0..64 {
        draws.push(queued(withdrawals.reserve(CallId(call), &name, key(), AbuseRule::Omitted)).await);
    }
    drop(go);
    busy.await.unwrap();
    // Held until the end: dropping them makes commits of its own.
    let held = join_all(draws).await;
    assert!(held.iter().all(Result::is_ok));
    // One for `before` itself, one for `busy`, one for all 64.
    assert_eq!(commits(&scene).await - before, 3);
}

#[tokio::test]
async fn a_lone_operation_does_not_wait_for_company() {
    let scene = Scene::with_tokens(1).await;
    let before = commits(&scene).await;
    let reserved =
        scene.vault.withdrawals().reserve(CallId(1), &model(), key(), AbuseRule::Omitted).await.unwrap();
    assert_eq!(commits(&scene).await - before, 2);
    drop(reserved);
}

#[tokio::test]
async fn a_refusal_leaves_the_rest_of_its_batch_alone() {
    let scene = Scene::with_tokens(1).await;
    let (withdrawals, name) = (scene.vault.withdrawals(), model());
    let (go, busy) = hold(&scene).await;
    let mut draws = Vec::new();
    for call in 0..3 {
        draws.push(queued(withdrawals.reserve(CallId(call), &name, key(), AbuseRule::Omitted)).await);
    }
    drop(go);
    busy.await.unwrap();
    assert_eq!(join_all(draws).await.iter().filter(|drawn| drawn.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_failed_commit_answers_everything_in_it_and_loses_no_token() {
    let scene = Scene::with_tokens(8).await;
    let (withdrawals, deposits, name) = (scene.vault.withdrawals(), scene.vault.deposits(), model());
    let reserved = withdrawals.reserve(CallId(100), &name, key(), AbuseRule::Omitted).await.unwrap();
    let (go, busy) = hold(&scene).await;
    let mut draws = Vec::new();
    for call in 0..7 {
        draws.push(queued(withdrawals.reserve(CallId(call), &name, key(), AbuseRule::Omitted)).await);
    }
    let present = queued(withdrawals.present(reserved, DIGEST)).await;
    let begin = queued(deposits.begin(vec![issuance(100)])).await;
    let fault = queued(fail_next_commits(&scene, 1)).await;
    drop(go);
    busy.await.unwrap();
    let failed = VaultError::Storage { code: 0 };
    assert!(join_all(draws).await.into_iter().all(|drawn| drawn.err().as_ref() == Some(&failed)));
    assert_eq!(present.await.err().as_ref(), Some(&failed));
    assert_eq!(begin.await.as_ref(), Err(&failed));
    assert_eq!(fault.await.as_ref(), Err(&failed));
    assert_eq!(scene.stock().await, Stock { available: 8, ..Stock::default() });
    // All eight can be drawn: the index forgot the failed draws.
    let mut held = Vec::new();
    for call in 0..8 {
        held.push(withdrawals.reserve(CallId(call), &name, key(), AbuseRule::Omitted).await.unwrap());
    }
    assert_eq!(scene.stock().await.reserved, 8);
}

#[tokio::test]
async fn a_settle_that_failed_leaves_the_token_in_doubt_even_if_the_disk_fails_again() {
    let scene = Scene::with_tokens(1).await;
    let withdrawals = scene.vault.withdrawals();
    let reserved = withdrawals.reserve(CallId(1), &model(), key(), AbuseRule::Omitted).await.unwrap();
    let presented = withdrawals.present(reserved, DIGEST).await.unwrap();
    // This one, the settle, and the farewell after it.
    assert!(fail_next_commits(&scene, 3).await.is_err());
    assert!(withdrawals.settle(presented).await.is_err());
    let mut stock = scene.vault.census().stock().await;
    // Whether the farewell failed alone or together with this count depends on who came first.
    if stock.is_err() {
        stock = scene.vault.census().stock().await;
    }
    assert_eq!(stock.unwrap()[&model()], Stock { in_doubt: 1, ..Stock::default() });
    assert!(withdrawals.resume(CallId(2), DIGEST).await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_disk_is_named_and_costs_nothing() {
    let scene = Scene::with_tokens(3).await;
    let limit = |pages: &'static str| {
        scene.inside(move |books| {
            let used: i64 = books.conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let limit = if pages == "used" { used } else { 1_000_000 };
            books.conn.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))?;
            Ok(())
        })
    };
    limit("used").await.unwrap();
    let large: Vec<NewIssuance> = (100..200).map(issuance).collect();
    let error = scene.vault.deposits().begin(large).await.unwrap_err();
    assert_eq!(error, VaultError::Full);
    assert!(error.to_string().contains("make room"));
    assert_eq!(scene.stock().await, Stock { available: 3, ..Stock::default() });
    assert!(scene.vault.deposits().pending().await.unwrap().is_empty());
    // Spending goes on: it needs no new page.
    let withdrawals = scene.vault.withdrawals();
    let reserved = withdrawals.reserve(CallId(1), &model(), key(), AbuseRule::Omitted).await.unwrap();
    let presented = withdrawals.present(reserved, DIGEST).await.unwrap();
    withdrawals.settle(presented).await.unwrap();
    limit("many").await.unwrap();
    scene.vault.deposits().begin((100..200).map(issuance).collect()).await.unwrap();
    assert_eq!(scene.stock().await, Stock { available: 2, blinded: 100, spent: 1, ..Stock::default() });
}

#[tokio::test]
async fn a_call_cancelled_before_it_got_its_token_leaves_it_as_it_was() {
    let scene = Scene::with_tokens(1).await;
    let (withdrawals, name) = (scene.vault.withdrawals(), model());
    // While drawing. (Once `commits` is answered, the farewell is on its way.)
    let (go, busy) = hold(&scene).await;
    let draw = queued(withdrawals.reserve(CallId(1), &name, key(), AbuseRule::Omitted)).await;
    drop((draw, go));
    busy.await.unwrap();
    commits(&scene).await;
    assert_eq!(scene.stock().await.available, 1);
    // While presenting: nobody got it, so nothing was sent.
    let reserved = withdrawals.reserve(CallId(2), &name, key(), AbuseRule::Omitted).await.unwrap();
    let (go, busy) = hold(&scene).await;
    let present = queued(withdrawals.present(reserved, DIGEST)).await;
    drop((present, go));
    busy.await.unwrap();
    commits(&scene).await;
    assert_eq!(scene.stock().await.available, 1);
    // While resuming.
    let reserved = withdrawals.reserve(CallId(3), &name, key(), AbuseRule::Omitted).await.unwrap();
    drop(withdrawals.present(reserved, DIGEST).await.unwrap());
    assert_eq!(scene.stock().await.in_doubt, 1);
    let (go, busy) = hold(&scene).await;
    let resume = queued(withdrawals.resume(CallId(4), DIGEST)).await;
    drop((resume, go));
    busy.await.unwrap();
    commits(&scene).await;
    assert_eq!(scene.stock().await.in_doubt, 1);
    assert!(withdrawals.resume(CallId(5), DIGEST).await.unwrap().is_some());
}
