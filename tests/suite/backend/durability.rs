//! What a restart finds, and what the files are.

use std::time::Duration;

use llmtor::backend::{Backend, BackendError, ModelSettings, Settings};
use llmtor::clock::SystemClock;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::house::{House, MODEL, NOW, said};
use llmtor::wire::redemption::Epoch;

#[tokio::test]
async fn a_restart_keeps_the_spent_tokens_their_answers_and_the_blacklist() {
    use sha2::Digest as _;
    let house = House::open().await;
    house.upstream.say(200, "before");
    let abuse = house.abuse_tokens(Epoch::at(NOW)).await;
    let spent = house.paid_with(MODEL, &abuse).await;
    let fresh = house.paid_with(MODEL, &abuse).await;
    let answer = house.redeem(&spent).await;
    let house = house.restart().await;
    house.upstream.say(200, "after");
    assert_eq!(house.redeem(&spent).await, answer);
    assert_eq!(said(&house.redeem(&fresh).await.1), "after");
    let banned = sha2::Sha256::digest(super::house::decode(&json!(abuse[0].0)));
    house.backend.blacklist_abuse(banned.into()).unwrap();
    let house = house.restart().await;
    assert_eq!(house.redeem(&spent).await.1["data"]["abuse_token_blacklisted"], true);
}

#[tokio::test]
async fn a_call_in_flight_gets_the_grace_period() {
    let house = House::open().await;
    house.upstream.gate.forget_permits(usize::MAX);
    house.upstream.say(200, "in time");
    let body = house.paid(MODEL).await;
    let (base, client, upstream) = (house.base.clone(), house.client.clone(), house.upstream.clone());
    let call = tokio::spawn(async move {
        let response = client.post(format!("{base}/api/v1/llm-proxy")).body(body.to_string()).send().await;
        response.unwrap().json::<serde_json::Value>().await.unwrap()
    });
    while upstream.count() == 0 {
        tokio::task::yield_now().await;
    }
    let stop = tokio::spawn(house.stop());
    upstream.gate.add_permits(1);
    assert_eq!(said(&call.await.unwrap()), "in time");
    stop.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_the_grace_period() {
    let house = House::open().await;
    house.upstream.gate.forget_permits(usize::MAX);
    let body = house.paid(MODEL).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/llm-proxy", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let server =
        tokio::spawn(house.backend.clone().serve(listener, shutdown.clone(), Duration::from_millis(20)));
    let call = tokio::spawn(house.client.post(url).body(body.to_string()).send());
    while house.upstream.count() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    server.await.unwrap().unwrap();
    assert!(call.await.unwrap().is_err(), "cut off");
}

#[test]
fn a_home_that_was_not_initialised_says_what_to_run() {
    let home = tempfile::tempdir().unwrap();
    let Err(error) = Backend::open(home.path(), Settings::default(), SystemClock::shared()) else {
        panic!("opened an empty directory");
    };
    assert!(matches!(error, BackendError::NotInitialised(_)));
    assert!(error.to_string().contains("llmtor backend init"));
}

#[test]
fn initialising_again_keeps_the_keys_and_makes_only_the_missing_ones() {
    let home = tempfile::tempdir().unwrap();
    let open = |settings: &Settings| {
        Backend::init(home.path(), settings).unwrap();
        Backend::open(home.path(), settings.clone(), SystemClock::shared()).unwrap().export_keys()
    };
    let mut settings = Settings::default();
    let first = open(&settings);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["abuse-permanent", "abuse-transient", "llmtor-demo"]);
    settings.models.insert("second".parse().unwrap(), ModelSettings::default());
    let second = open(&settings);
    assert_eq!(second.len(), 4);
    assert!(first.iter().all(|(name, pem)| second[name] == *pem));
    let written = Settings::load(&home.path().join("backend.toml")).unwrap();
    assert_eq!(written, Settings::default(), "the file is the host's: written once");
}

#[cfg(unix)]
#[tokio::test]
async fn the_home_and_its_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn check(path: &std::path::Path, count: &mut usize) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        *count += 1;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            for entry in std::fs::read_dir(path).unwrap() {
                check(&entry.unwrap().path(), count);
            }
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    let house = House::open().await;
    let body = house.paid(MODEL).await;
    house.redeem(&body).await;
    let mut count = 0;
    check(house.home.path(), &mut count);
    assert!(count > 10, "{count}");
}
