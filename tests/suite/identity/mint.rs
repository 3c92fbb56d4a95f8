//! Minting: what is made, what is debited, and what each way of failing leaves behind.

use std::sync::Mutex;
use std::time::Duration;

use llmtor::identity::{ErrorKind, IdentityError, MintOrder, Readiness};
use llmtor::keys::{KeyName, Keyring};

use super::issuer::{Fault, public_key};
use super::{MODEL, World, model};

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_makes_what_was_ordered_and_debits_as_much() {
    let world = World::new(100).await;
    let process = world.start();
    let seen = Mutex::new(Vec::new());
    let order = MintOrder { model: model(), count: 70, readiness: Readiness::Now };
    let minted =
        process.identity.mint(order, &|progress| seen.lock().expect("seen").push(progress.done)).await;
    let minted = minted.expect("minted");
    assert_eq!((minted.made, minted.pending), (70, 0));
    assert!(minted.stopped.is_none());
    assert_eq!(world.issuer.used(), 70);
    let stock = process.stock().await;
    assert_eq!((stock.available, stock.blinded), (70, 0));
    assert_eq!(*seen.lock().expect("seen"), (1..=70).collect::<Vec<_>>());
    let account = process.identity.account().await.expect("account");
    assert_eq!((account.active[MODEL], account.used[MODEL]), (30, 70));
}

#[tokio::test(flavor = "multi_thread")]
async fn blinding_state_is_on_disk_before_its_request_leaves() {
    let world = World::new(5).await;
    let process = world.start();
    let path = world.home().vault_path();
    let (missing, found) = (std::sync::Arc::new(Mutex::new(0)), std::sync::Arc::new(Mutex::new(0)));
    let counts = (missing.clone(), found.clone());
    world.issuer.on_issuance(move |body| {
        // What a power cut would leave: the files as they are now, opened as after a crash.
        let image = tempfile::tempdir().expect("directory");
        for suffix in ["", "-wal"] {
            let name = format!("vault.db{suffix}");
            std::fs::copy(path.with_file_name(&name), image.path().join(&name)).expect("copied");
        }
        let reader = rusqlite::Connection::open(image.path().join("vault.db")).expect("reader");
        let held: i64 = reader
            .query_row(
                "SELECT count(*) FROM issuances WHERE request_id = ?1",
                [body["RequestID"].as_str()],
                |row| row.get(0),
            )
            .expect("count");
        *(if held == 1 { &counts.1 } else { &counts.0 }).lock().expect("count") += 1;
    });
    assert_eq!(process.mint(5).await.made, 5);
    assert_eq!((*missing.lock().expect("count"), *found.lock().expect("count")), (0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_are_in_flight_and_no_more_than_allowed() {
    let world = World::new(50).await;
    // Nothing is answered before four are there: a mint that sends one after the other would time out.
    world.issuer.gather(4);
    let process = world.start();
    let minted = tokio::time::timeout(Duration::from_secs(60), process.mint(40)).await.expect("pipelined");
    assert_eq!(minted.made, 40);
    assert_eq!(world.issuer.most_in_flight(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_passes_costs_no_second_credit() {
    let faults = [
        Fault::AnswerLost,
        Fault::AnswerCut,
        Fault::RequestLost,
        Fault::Html(200),
        Fault::Html(403),
        Fault::Html(502),
        Fault::Strange,
        Fault::RateLimited,
        Fault::GarbageBase64,
        Fault::ShortSignature,
        Fault::NoData,
        Fault::Endless,
        Fault::Redirect,
        Fault::Conflict,
        Fault::Exhausted,
        Fault::Gateway(400),
        Fault::Gateway(401),
        Fault::Gateway(404),
        Fault::Gateway(408),
        Fault::Gateway(500),
    ];
    for fault in faults {
        let world = World::new(9).await;
        world.issuer.script([fault]);
        let process = world.start();
        let minted = process.mint(2).await;
        assert_eq!((minted.made, minted.pending), (2, 0), "{fault:?}: {:?}", minted.stopped);
        assert_eq!(world.issuer.used(), 2, "{fault:?}");
        assert_eq!(process.stock().await.available, 2, "{fault:?}");
        let mut requests = world.issuer.seen(|seen| {
            let bodies = seen.iter().filter(|seen| seen.path.contains("auth-token"));
            bodies.map(|seen| seen.body.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(requests.len(), 3, "{fault:?}");
        requests.sort();
        requests.dedup();
        assert_eq!(requests.len(), 2, "{fault:?}: the repeat is the same request, byte for byte");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_leaves_the_row_for_later_and_says_what_is_wrong() {
    for (fault, expected) in [
        (Fault::Html(502), "cannot be reached"),
        (Fault::Html(200), "does not speak the backend's protocol"),
        (Fault::Endless, "larger than any"),
        (Fault::Redirect, "redirects"),
        (Fault::RateLimited, "pause"),
    ] {
        let world = World::new(9).await;
        world.issuer.script([fault; 3]);
        let process = world.start();
        let minted = process.mint(1).await;
        assert_eq!((minted.made, minted.pending), (0, 1), "{fault:?}");
        let stopped = minted.stopped.expect("stopped");
        assert_eq!(stopped.kind(), ErrorKind::Transient, "{fault:?}");
        assert!(stopped.to_string().contains(expected), "{fault:?}: {stopped}");
        assert_eq!(process.stock().await.blinded, 1);
        // The next mint finishes it first.
        let minted = process.mint(1).await;
        assert_eq!((minted.recovered.made, minted.made), (1, 1), "{fault:?}");
        assert_eq!(world.issuer.used(), 2, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signature_is_an_alarm_and_is_never_stored() {
    let world = World::new(9).await;
    world.issuer.script([Fault::Forged]);
    let process = world.start();
    let minted = process.mint(1).await;
    let alarm = minted.stopped.expect("alarm");
    assert_eq!(alarm.kind(), ErrorKind::Alarm);
    let text = alarm.to_string();
    assert!(text.contains(MODEL) && text.contains(&public_key(0).fingerprint().to_string()), "{text}");
    let stock = process.stock().await;
    assert_eq!((stock.available, stock.maturing, stock.blinded), (0, 0, 1));
    // The backend repeats it. A mint goes on all the same, and still ends with the alarm.
    let minted = process.mint(5).await;
    assert_eq!(minted.stopped.map(|alarm| alarm.kind()), Some(ErrorKind::Alarm));
    assert_eq!((minted.made, world.issuer.used()), (5, 6));
    assert_eq!(process.stock().await.available, 5);
    // Until the five minutes are over: the ledger says that its credit was taken.
    world.clock.advance(300);
    world.issuer.forget();
    let minted = process.mint(1).await;
    assert_eq!((minted.made, minted.recovered.lost), (1, 1));
    assert!(minted.stopped.is_none(), "{:?}", minted.stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_an_alarm_one_request_goes_ahead_and_a_second_forgery_costs_one_credit() {
    let world = World::new(50).await;
    let process = world.start();
    world.issuer.script([Fault::Forged]);
    process.mint(1).await;
    // The repeat of the first, which is remembered as it was, then everything fresh.
    world.issuer.script([Fault::Forged; 20]);
    let minted = process.mint(20).await;
    assert_eq!(minted.stopped.map(|alarm| alarm.kind()), Some(ErrorKind::Alarm));
    assert_eq!((minted.made, minted.pending, world.issuer.used()), (0, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signature_of_one_model_does_not_stop_another() {
    let world = World::new(9).await;
    world.issuer.script([Fault::Forged]);
    let mut keyring = world.issuer.keyring();
    keyring.insert(KeyName::Model("o1".parse().expect("model")), public_key(0));
    let process = world.start_with(keyring);
    process.mint(1).await;
    let order = MintOrder { model: "o1".parse().expect("model"), count: 3, readiness: Readiness::Now };
    let minted = process.identity.mint(order, &|_| ()).await.expect("begun");
    assert_eq!(minted.made, 3);
    assert!(minted.stopped.is_none(), "{:?}", minted.stopped);
    let alarms: Vec<_> = minted.recovered.alarms.iter().map(ToString::to_string).collect();
    assert!(alarms.len() == 1 && alarms[0].contains(MODEL), "{alarms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_repeat_does_not_give_up_a_debited_credit() {
    for refusal in [Fault::NoQuota, Fault::UnknownModel] {
        // One credit; the answer is lost after the debit, and the repeat meets a server that does not know of it.
        let world = World::new(1).await;
        world.issuer.script([Fault::AnswerLost, refusal]);
        let process = world.start();
        let minted = process.mint(1).await;
        assert_eq!((minted.made, minted.pending, world.issuer.used()), (1, 0, 1), "{refusal:?}");

        // It answers longer than one mint is patient: the row stays, and the next one brings the token.
        let world = World::new(1).await;
        world.issuer.script([Fault::AnswerLost, refusal, refusal]);
        let process = world.start();
        let minted = process.mint(1).await;
        assert_eq!((minted.made, minted.pending), (0, 1), "{refusal:?}: {:?}", minted.stopped);
        let recovered = process.identity.recover().await.expect("recovered");
        assert_eq!((recovered.made, recovered.refused), (1, 0), "{refusal:?}");
        assert_eq!((process.stock().await.available, world.issuer.used()), (1, 1), "{refusal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_other_words_than_the_backends_gives_up_no_row() {
    for fault in
        [400, 401, 404, 408, 500].map(Fault::Gateway).into_iter().chain([Fault::Conflict, Fault::Exhausted])
    {
        let world = World::new(1).await;
        world.issuer.script([fault; 3]);
        let process = world.start();
        let minted = process.mint(1).await;
        assert_eq!((minted.made, minted.pending), (0, 1), "{fault:?}: {:?}", minted.stopped);
        assert_eq!(minted.stopped.map(|error| error.kind()), Some(ErrorKind::Transient), "{fault:?}");
        // Whether it was debited or not, the repeat brings the token for one credit.
        let recovered = process.identity.recover().await.expect("recovered");
        assert_eq!((recovered.made, world.issuer.used()), (1, 1), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_first_sending_leaves_nothing_pending() {
    for refusal in [Fault::NoQuota, Fault::UnknownModel] {
        let world = World::new(1).await;
        world.issuer.script([refusal]);
        let process = world.start();
        let minted = process.mint(1).await;
        assert_eq!((minted.made, minted.pending, process.stock().await.blinded), (0, 0, 0), "{refusal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_account_stops_the_mint_and_leaves_nothing_pending() {
    let world = World::new(7).await;
    let process = world.start();
    let minted = process.mint(60).await;
    assert_eq!((minted.made, minted.pending), (7, 0));
    assert!(matches!(&minted.stopped, Some(IdentityError::NoQuota(name)) if *name == model()));
    let stock = process.stock().await;
    assert_eq!((stock.available, stock.blinded), (7, 0));
    assert!(world.issuer.field("auth-token", "RequestID").len() < 20, "the rest is not asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_says_to_sign_in_and_sends_no_token() {
    let world = World::new(7).await;
    world.issuer.script([Fault::Unauthorized; 8]);
    let process = world.start();
    let minted = process.mint(3).await;
    let stopped = minted.stopped.expect("stopped");
    assert_eq!((minted.pending, stopped.kind()), (0, ErrorKind::SignIn));
    assert!(stopped.to_string().contains("llmtor login"), "{stopped}");
    assert_eq!(process.stock().await.blinded, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_pinned_key_is_refused_before_anything_is_sent() {
    let world = World::new(7).await;
    let process = world.start_with(Keyring::default());
    let order = MintOrder { model: model(), count: 1, readiness: Readiness::Now };
    let error = process.identity.mint(order, &|_| ()).await.expect_err("refused");
    assert!(matches!(&error, IdentityError::NoKey(KeyName::Model(name)) if *name == model()));
    assert!(error.to_string().contains("llmtor keys import"), "{error}");
    assert_eq!(world.issuer.seen(<[_]>::len), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_mature_after_a_delay_of_their_own() {
    let world = World::new(40).await;
    let process = world.start();
    let readiness = Readiness::Delayed;
    process.identity.mint(MintOrder { model: model(), count: 40, readiness }, &|_| ()).await.expect("minted");
    // Forty delays with a mean of six hours are over one second all together, and over a year none.
    assert!(process.stock().await.maturing >= 38);
    world.clock.advance(21_600);
    let after_a_mean = process.stock().await;
    assert!(after_a_mean.maturing > 0 && after_a_mean.available > 0, "they do not mature together");
    world.clock.advance(365 * 86_400);
    assert_eq!(process.stock().await.available, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_what_the_protocol_asks_for_and_no_more() {
    let world = World::new(1).await;
    world.start().mint(1).await;
    world.issuer.seen(|seen| {
        let issuance = seen.iter().find(|seen| seen.path.contains("auth-token")).expect("issuance");
        assert_eq!(issuance.path, format!("/api/v1/auth-token/{MODEL}"));
        let mut fields: Vec<_> = issuance.body.as_object().expect("object").keys().collect();
        fields.sort_unstable();
        assert_eq!(fields, ["BlindedToken", "ModelName", "RequestID"]);
        let mut names: Vec<_> = issuance.headers.keys().map(axum::http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-length", "content-type", "cookie", "host"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn speaking_tls_to_something_else_ends_in_a_message() {
    let world = World::new(1).await;
    let process = world.start_elsewhere(&world.issuer.url().replace("http:", "https:"));
    let error = process.identity.account().await.expect_err("no TLS there");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(world.issuer.seen(<[_]>::len), 0);
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    // A process of its own, since the environment is the process's: a mint succeeds beside proxies that lead nowhere.
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, "http://127.0.0.1:9");
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let name = "identity::mint::a_mint_makes_what_was_ordered_and_debits_as_much";
    let output = child.args(["--exact", name]).output().expect("run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
