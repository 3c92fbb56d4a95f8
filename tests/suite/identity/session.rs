//! The session: sealed at rest, absent from logs and errors, wiped on sign-out.

use std::io;
use std::sync::{Arc, Mutex};

use llmtor::clock::{ManualClock, Timestamp};
use llmtor::identity::purchase::{Offer, offers};
use llmtor::identity::record::{Bearing, RequestLog, Sent, Way};
use llmtor::identity::{Deadlines, IdentityError, Route, Session, SessionFile};
use llmtor::passage::Gate;
use llmtor::secret::Secret;

use super::issuer::Fault;
use super::{SESSION, START, World};

/// Whether any file below `root` holds `needle`.
fn on_disk(root: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(root).expect("directory").any(|entry| {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            return on_disk(&path, needle);
        }
        std::fs::read(path).expect("file").windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_kept_sealed_and_wiped_on_sign_out() {
    let world = World::new(3).await;
    let process = world.start();
    process.mint(2).await;
    let bare = SESSION.replace('-', "");
    let compact: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&bare[at * 2..at * 2 + 2], 16).expect("hex")).collect();
    for needle in [SESSION.as_bytes(), bare.as_bytes(), &compact] {
        assert!(!on_disk(world.dir.path(), needle));
    }
    assert!(on_disk(world.dir.path(), b"SQLite format 3"), "the search finds what is there");
    assert!(world.session_file().load().expect("loaded").is_some());

    process.identity.sign_out().await.expect("signed out");
    assert!(!world.home().session_path().exists());
    assert!(world.session_file().load().expect("loaded").is_none());
    assert!(world.issuer.seen(|seen| seen.iter().any(|seen| seen.path == "/api/v1/users/signout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_wiped_here_even_if_the_backend_cannot_be_told() {
    let world = World::new(3).await;
    let process = world.start();
    world.issuer.script([Fault::Html(502)]);
    assert!(process.identity.sign_out().await.expect("signed out here").untold.is_some());
    assert!(!world.home().session_path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_session_file_says_to_sign_in_again() {
    let world = World::new(0).await;
    drop(world.start());
    let foreign = SessionFile::new(world.home(), Secret::new([7; 32]));
    assert!(matches!(foreign.load(), Err(IdentityError::SealedSession)));
    let path = world.home().session_path();
    let whole = std::fs::read(&path).expect("file");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).expect("written");
        let Err(error) = world.session_file().load() else { panic!("byte {at} is not protected") };
        assert!(error.to_string().contains("llmtor login"), "{error}");
    }
    for length in [0, 1, 20, 30, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).expect("written");
        assert!(world.session_file().load().is_err());
    }
    // Signing in again repairs it.
    let session = Session::parse(SESSION).expect("session");
    world.session_file().store(&session, "u1", &mut rand::rng()).expect("stored");
    assert!(world.session_file().load().expect("loaded").is_some());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("log").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// On one thread, so that the subscriber sees the HTTP client's tasks too.
#[tokio::test]
async fn neither_logs_at_trace_nor_errors_show_the_session() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new(5).await;
    world.issuer.script([Fault::RateLimited, Fault::AnswerCut, Fault::Forged]);
    let process = world.start();
    let mut errors = String::new();
    for _ in 0..2 {
        let minted = process.mint(2).await;
        errors.extend(minted.stopped.map(|error| format!("{error:?} {error}")));
    }
    world.issuer.script([Fault::Unauthorized, Fault::Html(502), Fault::Strange]);
    errors.extend(process.identity.abuse_setup().await.err().map(|error| format!("{error:?} {error}")));
    errors.extend(process.identity.abuse_setup().await.err().map(|error| format!("{error:?} {error}")));
    drop(guard);

    let log = String::from_utf8(log.0.lock().expect("log").clone()).expect("text");
    assert!(log.contains("an issuance was not answered") && log.contains("ALARM"), "the log was captured");
    let ids = world.issuer.field("auth-token", "RequestID");
    let blinded = world.issuer.field("auth-token", "BlindedToken");
    assert!(ids.len() >= 4);
    for secret in ids.iter().chain(&blinded).map(String::as_str).chain([SESSION, &SESSION[24..]]) {
        assert!(!log.contains(secret) && !errors.contains(secret));
    }
}

#[tokio::test]
async fn nothing_but_this_machine_is_reached_without_tls() {
    for url in ["http://example.org", "http://10.0.0.1", "http://[::ffff:10.0.0.1]"] {
        let error = llmtor::identity::IdentityUrl::parse(url).expect_err("refused");
        assert!(error.to_string().contains("backend.identity_url"), "{error}");
    }
}

/// What is for sale at `url`, and what of the question left.
async fn prices(url: &str) -> (Result<Vec<Offer>, IdentityError>, Arc<RequestLog>) {
    let url = llmtor::identity::IdentityUrl::parse(url).expect("url");
    let log = RequestLog::new(ManualClock::shared(Timestamp::from_unix(START)));
    let asked = offers(url, Route::Direct, &Deadlines::default(), Gate::default(), log.clone()).await;
    (asked, log)
}

#[tokio::test]
async fn prices_that_are_refused_say_nothing_of_the_session() {
    let world = World::new(5).await;
    let (asked, log) = prices(&world.issuer.url()).await;
    let error = asked.expect_err("no cookie goes along");
    assert!(matches!(error, IdentityError::Refused(401)), "{error}");
    let (method, path) = ("GET", "/api/v1/model-pricing".to_owned());
    let sent = Sent { method, path, body: 0, way: Way::Loopback, bearing: Bearing::Nobody };
    assert_eq!(log.latest(), [(Timestamp::from_unix(START), sent)]);
}

#[tokio::test]
async fn what_found_nobody_there_did_not_leave() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (asked, log) = prices(&format!("http://{nobody}")).await;
    assert!(matches!(asked, Err(IdentityError::Unreachable(_))));
    assert_eq!(log.latest(), []);
}
