//! A client's life, by what is known of it and by what it dials.

use super::*;

fn phase(change: impl FnOnce(&mut Facts)) -> Phase {
    let mut facts = Facts::default();
    change(&mut facts);
    facts.status().phase
}

/// Arti's settings for a network of one address, where a relay is to be.
fn network(address: std::net::SocketAddr) -> toml::Table {
    let id = "0123456789ABCDEF0123456789ABCDEF01234567";
    let arti = format!(
        "[tor_network.authorities]\nv3idents = [\"{id}\"]\nuploads = [[\"{address}\"]]\ndownloads = [[\"{address}\"]]\n\
         votes = [[\"{address}\"]]\n[[tor_network.fallback_caches]]\nrsa_identity = \"{id}\"\n\
         ed_identity = \"Ag/Gc4vnZ9rLgcq3vRzLhD7aRWq2SKMMxmLRqxQSdH0\"\norports = [\"{address}\"]\n\
         [storage.permissions]\ndangerously_trust_everyone = true\n"
    );
    toml::from_str(&arti).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_rests_before_it_has_a_directory_dials_again_when_it_rises() {
    let room = tempfile::tempdir().unwrap();
    // As a captive portal: whoever dials is let in, and told nothing that makes sense.
    let portal = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        state: room.path().join("state"),
        cache: room.path().join("cache"),
        arti: network(portal.local_addr().unwrap()),
    };
    let life = Life::launch(&settings, crate::clock::SystemClock::shared(), Start::Now).unwrap();
    let dialled = |within: u64| {
        let portal = &portal;
        async move {
            let accepted = tokio::time::timeout(Duration::from_millis(within), portal.accept()).await;
            accepted.is_ok_and(|accepted| accepted.is_ok())
        }
    };
    assert!(dialled(20_000).await);
    life.rest().await;
    // What was dialled until then.
    while dialled(20).await {}
    assert!(!dialled(400).await, "it is at rest");
    life.rise().await;
    assert!(dialled(20_000).await, "as before");
    // A rest that comes to act only after the rising does nothing.
    let turn = life.renewal.lock().await;
    let resting = tokio::spawn({
        let life = Arc::clone(&life);
        async move { life.rest().await }
    });
    while life.lock().wanted == Start::Now {
        tokio::task::yield_now().await;
    }
    life.lock().wanted = Start::Now;
    drop(turn);
    resting.await.unwrap();
    assert_ne!(life.status().borrow().phase, Phase::AtRest);
    life.close().await;
}

#[test]
fn what_is_known_of_the_client_makes_one_phase() {
    assert_eq!(phase(|_| ()), Phase::Bootstrapping(Stage::Connecting));
    assert_eq!(phase(|facts| facts.bootstrapped = true), Phase::Ready);
    assert_eq!(phase(|facts| facts.reach = Reach::Nobody), Phase::Blocked(Blockage::Offline));
    let skewed = |facts: &mut Facts| facts.event.blockage = Some(Blockage::Clock);
    assert_eq!(phase(skewed), Phase::Blocked(Blockage::Clock));
    // What hindered the start hinders no more.
    assert_eq!(
        phase(|facts| {
            skewed(facts);
            facts.bootstrapped = true;
        }),
        Phase::Ready
    );
}

#[test]
fn a_client_at_rest_is_not_ready_whatever_was_known_of_it() {
    let phase = phase(|facts| {
        *facts = Facts { bootstrapped: true, mode: Mode::AtRest, ..Facts::default() };
    });
    assert_eq!(phase, Phase::AtRest);
    assert!(!Status { percent: 100, phase }.is_ready());
}

#[test]
fn a_doubted_client_is_blocked_and_a_dormant_one_is_ready() {
    let doubted = |reach| {
        phase(|facts| *facts = Facts { bootstrapped: true, reach, mode: Mode::Doubted, ..Facts::default() })
    };
    assert_eq!(doubted(Reach::Somebody), Phase::Blocked(Blockage::Unreachable));
    assert_eq!(doubted(Reach::Nobody), Phase::Blocked(Blockage::Offline));
    let dormant = phase(|facts| {
        *facts = Facts { bootstrapped: true, mode: Mode::Dormant, ..Facts::default() };
    });
    assert_eq!(dormant, Phase::Dormant);
    assert!(Status { percent: 100, phase: dormant }.is_ready());
}
