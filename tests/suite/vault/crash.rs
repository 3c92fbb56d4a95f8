//! Processes that die: this test program starts itself as a child, and kills it.
//!
//! A child is a test that returns at once unless [`HOME`] is set. It reports each acknowledged operation as a
//! line on its output before it goes on, so the parent knows what must have survived.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use llmtor::clock::SystemClock;
use llmtor::datadir::{Home, HomeError};
use llmtor::vault::RequestDigest;

use super::*;

const HOME: &str = "LLMTOR_TEST_CHILD_HOME";

fn spawn(test: &str, home: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("vault::crash::{test}"), "--nocapture"])
        .env(HOME, home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The lines that children write start with this, to tell them from the test harness's.
const MARK: &str = "child: ";

fn report(line: &str) {
    // Not `println!`: the harness would hold it back.
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{line}").unwrap();
    out.flush().unwrap();
}

fn reports(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map_while(Result::ok).filter_map(|line| {
        // The harness may have written in front of it without a newline.
        line.split_once(MARK).map(|(_, report)| report.to_owned())
    })
}

#[test]
fn a_child_that_holds_a_home() {
    let Some(root) = std::env::var_os(HOME) else { return };
    let _lock = Home::open(Path::new(&root)).unwrap().lock().unwrap();
    report("locked");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_second_process_is_told_which_one_holds_the_home() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let mut child = spawn("a_child_that_holds_a_home", dir.path());
    assert_eq!(reports(&mut child).next().as_deref(), Some("locked"));
    let error = home.lock().err().unwrap();
    assert!(matches!(error, HomeError::InUse { pid: Some(pid) } if pid == child.id()));
    let expected = format!("llmtor (pid {}) is using this home", child.id());
    assert!(error.to_string().starts_with(&expected), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    home.lock().unwrap();
}

#[test]
fn a_child_that_buys_and_spends_until_it_is_killed() {
    let Some(root) = std::env::var_os(HOME) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let path = Path::new(&root).join("vault.db");
        let (vault, _) = open(&path, SystemClock::shared()).unwrap();
        report("open");
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..8u32 {
            let (deposits, withdrawals) = (vault.deposits(), vault.withdrawals());
            tasks.spawn(async move {
                for round in 0u32.. {
                    let name = format!("{}-{worker}-{round}", std::process::id());
                    deposits.begin(vec![issuance(&name, &name)]).await.unwrap();
                    report(&format!("begun {name}"));
                    let id = RequestId(name.clone());
                    deposits.finalize(&id, signature(), Timestamp::from_unix(0)).await.unwrap();
                    report(&format!("finalized {name}"));
                    let call = CallId(u128::from(worker) << 32 | u128::from(round));
                    let reserved =
                        withdrawals.reserve(call, &model(), key(), AbuseRule::Omitted).await.unwrap();
                    let digest = RequestDigest([1; 32]);
                    let presented = withdrawals.present(reserved, digest).await.unwrap();
                    let token = String::from_utf8(presented.llmmask().token.0.clone()).unwrap();
                    report(&format!("presented {token}"));
                    if round % 3 == 0 {
                        drop(presented);
                    } else {
                        withdrawals.settle(presented).await.unwrap();
                        report(&format!("settled {token}"));
                    }
                }
            });
        }
        tasks.join_all().await;
    });
}

#[test]
fn a_killed_process_loses_no_token_and_shows_none_to_two_requests() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut begun = BTreeSet::new();
    let mut finalized = BTreeSet::new();
    let mut presented = BTreeSet::new();
    let mut settled = BTreeSet::new();
    let mut pending_before = BTreeSet::new();
    for round in 0..6 {
        let mut child = spawn("a_child_that_buys_and_spends_until_it_is_killed", dir.path());
        let mut lines = reports(&mut child);
        let note = |line: String, presented: &mut BTreeSet<String>| {
            let Some((verb, token)) = line.split_once(' ') else { return };
            let token = token.to_owned();
            match verb {
                "begun" => assert!(begun.insert(token)),
                "finalized" => assert!(finalized.insert(token)),
                "presented" => assert!(presented.insert(token), "shown to two requests"),
                "settled" => assert!(settled.insert(token)),
                _ => panic!("unexpected report"),
            }
        };
        let mut note = note;
        for line in lines.by_ref().take(1 + 150 + 37 * round) {
            note(line, &mut presented);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had reported before it died.
        lines.for_each(|line| note(line, &mut presented));

        runtime.block_on(async {
            let (vault, _) = open(&dir.path().join("vault.db"), SystemClock::shared()).unwrap();
            let now = stock(&vault).await;
            assert_eq!((now.reserved, now.presented, now.refused), (0, 0, 0));
            let pending = vault.deposits().pending().await.unwrap();
            let pending: BTreeSet<String> =
                pending.into_iter().map(|found| found.issuance.request_id.0).collect();
            // Whatever was acknowledged is there, at most one more operation of each worker is.
            assert!(pending.is_disjoint(&finalized));
            assert!(pending_before.is_subset(&pending));
            let tokens = now.available + now.in_doubt + now.spent;
            let all = tokens + pending.len() as u64;
            assert!(finalized.len() as u64 <= tokens, "a finalized token is gone");
            assert!(begun.len() as u64 <= all && all <= begun.len() as u64 + 8 * (round as u64 + 1));
            assert!(settled.len() as u64 <= now.spent, "a settled token is back");
            assert!(presented.len() as u64 <= now.in_doubt + now.spent, "a presented token is available");
            pending_before = pending;

            // The available ones were never shown to any request; in doubt and settled ones are not among them.
            let mut held = Vec::new();
            while let Ok(reserved) = reserve(&vault).await {
                let shown = vault.withdrawals().present(reserved, RequestDigest([2; 32])).await.unwrap();
                let token = String::from_utf8(shown.llmmask().token.0.clone()).unwrap();
                assert!(!presented.contains(&token), "was shown before");
                held.push(shown);
            }
            assert_eq!(held.len() as u64, now.available);
            for shown in held {
                vault.withdrawals().return_unspent(shown).await.unwrap();
            }
            vault.close().await.unwrap();
        });
    }
    assert!(presented.len() > 50 && settled.len() > 20 && settled.len() < presented.len());
}
