//! Each row of protocol.md §5: what the backend says, what becomes of the token, what the user is told.

use llmtor::anonymous::redeem::{Phase, RedeemErrorKind, Settings, TokenFate, UpstreamReason};
use llmtor::blind::Fingerprint;
use serde_json::json;

use super::{Bench, model, settings};
use crate::support::scripted::{Act, Scripted, completion};

/// Available, in doubt, refused, spent; of three.
const UNSPENT: [u64; 4] = [3, 0, 0, 0];
const SPENT: [u64; 4] = [2, 0, 0, 1];
const IN_DOUBT: [u64; 4] = [2, 1, 0, 0];

async fn row(act: Act, kind: RedeemErrorKind, fate: TokenFate, stock: [u64; 4]) {
    let what = format!("{kind:?}");
    let bench = Bench::new(3, Scripted::start(move |_, _| act.clone()).await).await;
    let error = bench.redeem("hello").await.err().expect("no answer");
    assert_eq!((error.kind(), error.token()), (&kind, fate));
    bench.expect_stock(&what, stock).await;
}

#[tokio::test]
async fn an_answer_delivered_is_spent() {
    let bench = Bench::new(3, Scripted::playing(vec![Act::completion("hi")]).await).await;
    assert_eq!(bench.ask("hello").await.unwrap(), completion("hi"));
    bench.expect_stock("delivered", SPENT).await;
}

#[tokio::test]
async fn an_answer_is_not_settled_before_it_is_delivered() {
    let bench = Bench::new(3, Scripted::playing(vec![Act::completion("hi")]).await).await;
    let delivery = bench.redeem("hello").await.unwrap();
    let stock = bench.stock().await;
    assert_eq!((stock.presented, stock.spent), (1, 0));
    delivery.delivered();
    bench.expect_stock("delivered", SPENT).await;
}

#[tokio::test]
async fn what_the_backend_refuses_beforehand_is_not_spent() {
    use RedeemErrorKind as Kind;
    let flags = |flag: &str| Act::data(&json!({flag: true}));
    let rows = [
        (flags("size_limit_exceeded"), Kind::TooLarge { limit: None }),
        (flags("abuse_token_invalid"), Kind::AbuseTokenInvalid),
        (flags("abuse_token_expired"), Kind::AbuseTokenExpired),
        (flags("abuse_token_blacklisted"), Kind::AbuseTokenBlacklisted),
        (Act::refusal("failed to sanitize proxy request: missing signed token"), Kind::AbuseTokensWanted),
        (Act::refusal("model in request body mismatch, expected x"), Kind::RequestRefused { status: 500 }),
        (Act::refusal("no auth manager for intended model"), Kind::UnknownModel { model: model() }),
        (Act::refusal("failed to analyze text: part"), Kind::AnalysisFailed),
        (Act::json(400, &json!({"status": "Invalid request."})), Kind::RequestRefused { status: 400 }),
        (Act::json(404, &json!({"status": "Resource not found."})), Kind::RequestRefused { status: 404 }),
    ];
    for (act, kind) in rows {
        row(act, kind, TokenFate::Unspent, UNSPENT).await;
    }
}

#[tokio::test]
async fn what_the_backend_stored_is_spent() {
    use RedeemErrorKind as Kind;
    let upstream = |reason, message: &str| Kind::Upstream { reason, message: message.to_owned() };
    let rows = [
        (
            Act::data(&json!({"is_blocked": true, "blocked_reason": r#"{"violence":true,"hate":false}"#})),
            Kind::Blocked { categories: vec!["violence".into()] },
        ),
        (
            Act::provider(
                r#"{"error":{"message":"slow","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
            ),
            upstream(UpstreamReason::RateLimited, "slow"),
        ),
        (
            Act::provider(r#"{"error":{"code":400,"message":"bad role","status":"INVALID_ARGUMENT"}}"#),
            upstream(UpstreamReason::InvalidRequest, "bad role"),
        ),
        (
            Act::provider(r#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#),
            upstream(UpstreamReason::Unavailable, "busy"),
        ),
        (Act::provider("<html>"), Kind::AnswerUnreadable),
        (Act::refusal("token expired, this token was already used 6 days ago"), Kind::AnswerLost),
        (Act::refusal("cannot reuse token for different request."), Kind::TokenReused),
    ];
    for (act, kind) in rows {
        row(act, kind, TokenFate::Spent, SPENT).await;
    }
}

#[tokio::test]
async fn a_limit_on_requests_leaves_the_token_as_it_was() {
    let limited = |retry_after| RedeemErrorKind::RateLimited { retry_after };
    let headed = Act::Answer { status: 429, headers: "retry-after: 0\r\n", body: b"slow down".to_vec() };
    let acts = [
        (Act::text(429, "rate limited"), None),
        (Act::json(429, &json!({"status": "Too many requests."})), None),
        (headed, Some(std::time::Duration::ZERO)),
    ];
    for (act, retry_after) in acts {
        row(act.clone(), limited(retry_after), TokenFate::Unspent, UNSPENT).await;
        // After an attempt that ended in silence it frees nothing.
        let acts = [vec![Act::text(502, "")], vec![act; 3]].concat();
        refused(acts, Some((limited(retry_after), TokenFate::InDoubt)), IN_DOUBT).await;
    }
    // It is asked again meanwhile, on the same token, and what then comes is judged as the first word.
    let busy = || Act::text(429, "busy");
    let bench = refused(vec![busy(), busy(), Act::completion("hi")], None, SPENT).await;
    assert!(bench.backend.seen().windows(2).all(|pair| pair[0].body == pair[1].body));
    let refusal = Act::data(&json!({"abuse_token_expired": true}));
    refused(vec![busy(), refusal], Some((RedeemErrorKind::AbuseTokenExpired, TokenFate::Unspent)), UNSPENT)
        .await;
}

#[tokio::test]
async fn an_empty_answer_is_believed_when_it_is_repeated() {
    row(Act::provider(""), RedeemErrorKind::AnswerUnreadable, TokenFate::Spent, SPENT).await;
}

#[tokio::test]
async fn what_proves_nothing_leaves_the_token_in_doubt() {
    use RedeemErrorKind as Kind;
    let failing = |status| Kind::BackendFailing { status, retry_after: None };
    let raw = |bytes: &[u8]| Act::Raw(bytes.to_vec());
    let rows = [
        (Act::refusal("dial tcp: i/o timeout"), failing(500)),
        (Act::text(403, "<html>denied</html>"), failing(403)),
        (Act::text(502, ""), failing(502)),
        (Act::json(403, &json!({"error": "some other JSON"})), failing(403)),
        (Act::text(200, "<html>welcome</html>"), Kind::BackendGarbled),
        (Act::json(200, &json!({"status": "Ok.", "data": {"proxy_response": "%%%"}})), Kind::BackendGarbled),
        (Act::json(200, &json!({"status": "Ok.", "data": {"is_blocked": "yes"}})), Kind::BackendGarbled),
        (Act::json(200, &json!({"status": "Ok.", "data": {}})), Kind::BackendGarbled),
        // A gateway that passed the request on before it gave up: another prompt must not get the token.
        (Act::json(408, &json!({"status": "fail", "message": "upstream timed out"})), failing(408)),
        (Act::json(403, &json!({"status": "Forbidden", "error": "token expired"})), failing(403)),
        (Act::refusal("failed to store: context: token expired"), failing(500)),
        (
            raw(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
            failing(302),
        ),
        (
            raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b"),
            Kind::BackendGarbled,
        ),
        (raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), Kind::BackendGarbled),
        (raw(b""), Kind::ConnectionLost),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-le"), Kind::ConnectionLost),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"status\":"), Kind::ConnectionLost),
        (raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"st"), Kind::ConnectionLost),
        (raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"status\":\"Ok.\",\"da"), Kind::BackendGarbled),
        (Act::Endless, Kind::BackendGarbled),
    ];
    for (act, kind) in rows {
        row(act, kind, TokenFate::InDoubt, IN_DOUBT).await;
    }
}

#[tokio::test]
async fn an_interim_answer_and_chunks_are_read_as_http_has_them() {
    let Act::Answer { body, .. } = Act::completion("in pieces") else { unreachable!() };
    let (first, rest) = body.split_at(7);
    let size = format!("\r\n{:x}\r\n", rest.len());
    let chunked = [
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice(),
        b"7\r\n",
        first,
        size.as_bytes(),
        rest,
        b"\r\n0\r\n\r\n",
    ];
    let bench = Bench::new(3, Scripted::playing(vec![Act::Raw(chunked.concat())]).await).await;
    assert_eq!(bench.ask("hello").await.unwrap(), completion("in pieces"));
}

#[tokio::test]
async fn an_answer_longer_than_is_read_is_cut_off_and_asked_for_only_once() {
    let bench = Bench::new(3, Scripted::start(|_, _| Act::Endless).await).await;
    assert!(bench.redeem("hello").await.is_err());
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn silence_ends_at_the_deadlines() {
    for (act, phase) in [
        (Act::Hang, Phase::FirstByte),
        (Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec()), Phase::Whole),
    ] {
        let mut settings = settings();
        settings.limits.attempts = 2;
        settings.deadlines.call = std::time::Duration::from_secs(2);
        let bench = Bench::with(3, Scripted::start(move |_, _| act.clone()).await, settings).await;
        let error = bench.redeem("hello").await.err().unwrap();
        assert_eq!((error.kind(), error.token()), (&RedeemErrorKind::TimedOut { phase }, TokenFate::InDoubt));
        bench.expect_stock("timed out", IN_DOUBT).await;
    }
}

fn invalid() -> Act {
    Act::refusal("invalid token for model gpt-4.1")
}

/// Three tokens; what the backend says in one call, the error if there is one, and the stock after it.
async fn refused(acts: Vec<Act>, error: Option<(RedeemErrorKind, TokenFate)>, stock: [u64; 4]) -> Bench {
    let what = format!("{error:?}");
    let bench = Bench::new(3, Scripted::playing(acts).await).await;
    let result = bench.ask("hello").await;
    assert_eq!(result.err().map(|error| (error.kind().clone(), error.token())), error);
    bench.expect_stock(&what, stock).await;
    bench
}

#[tokio::test]
async fn a_token_whose_signature_is_refused_is_set_aside_once_another_is_accepted() {
    use RedeemErrorKind as Kind;
    refused(vec![invalid(), Act::completion("hi")], None, [1, 0, 1, 1]).await;
    refused(
        vec![invalid(), Act::refusal("failed to analyze text: part")],
        Some((Kind::AnalysisFailed, TokenFate::Unspent)),
        [2, 0, 1, 0],
    )
    .await;
}

#[tokio::test]
async fn two_refused_in_one_call_show_the_key_at_fault_and_both_go_back() {
    let kind = RedeemErrorKind::TokenRefused { model: model() };
    let bench = refused(vec![invalid(), invalid()], Some((kind, TokenFate::Unspent)), UNSPENT).await;
    let seen = bench.backend.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].token(), seen[1].token());
}

#[tokio::test]
async fn a_refused_token_goes_back_when_the_second_tells_nothing_of_the_key() {
    // Abuse tokens are looked at before the signature.
    let expired = Act::data(&json!({"abuse_token_expired": true}));
    let error = (RedeemErrorKind::AbuseTokenExpired, TokenFate::Unspent);
    refused(vec![invalid(), expired], Some(error), UNSPENT).await;
    let error = (RedeemErrorKind::BackendFailing { status: 502, retry_after: None }, TokenFate::InDoubt);
    refused([vec![invalid()], vec![Act::text(502, ""); 4]].concat(), Some(error), IN_DOUBT).await;
}

#[tokio::test]
async fn a_lone_refused_token_goes_back() {
    let bench = Bench::new(1, Scripted::playing(vec![invalid(), Act::completion("hi")]).await).await;
    let error = bench.ask("hello").await.unwrap_err();
    assert_eq!(error.kind(), &RedeemErrorKind::TokenRefused { model: model() });
    assert_eq!(error.token(), TokenFate::Unspent);
    bench.expect_stock("refused", [1, 0, 0, 0]).await;
    bench.ask("hello").await.unwrap();
}

#[tokio::test]
async fn a_token_of_another_key_is_not_shown_to_the_backend() {
    let bench = Bench::new(1, Scripted::playing(vec![Act::completion("hi")]).await).await;
    let other = Fingerprint::from_bytes([9; 32]);
    let with = |key| {
        let keys = std::sync::Arc::new([(model(), key)].into());
        super::redeemer(&bench.vault, &bench.backend, Settings { keys, ..settings() })
    };
    let error = with(other).redeem(super::prompt("hello"), super::first()).await.err().unwrap();
    assert_eq!(error.kind(), &RedeemErrorKind::OutOfTokens { model: model(), maturing: None });
    assert!(bench.backend.seen().is_empty());
    let count = |key| {
        let census = bench.vault.census();
        async move { census.stock_under([(model(), key)].into()).await.unwrap()[&model()] }
    };
    let stock = count(other).await;
    assert_eq!((stock.available, stock.other_key), (0, 1));
    // Pinned again, it pays.
    let stock = count(super::key()).await;
    assert_eq!((stock.available, stock.other_key), (1, 0));
    with(super::key()).redeem(super::prompt("hello"), super::first()).await.unwrap().delivered();
    bench.expect_stock("paid", [0, 0, 0, 1]).await;
}

#[tokio::test]
async fn nothing_is_drawn_when_nobody_listens() {
    let backend = Scripted::playing(vec![]).await;
    let url = backend.url();
    drop(backend);
    let silent = Scripted::playing(vec![]).await;
    let bench = Bench::new(3, silent).await;
    let transport = llmtor::anonymous::transport::loopback::Loopback::new(&url).unwrap();
    let redeemer = llmtor::anonymous::redeem::Redeemer::new(
        bench.vault.withdrawals(),
        std::sync::Arc::new(transport),
        settings(),
    );
    let error = redeemer.redeem(super::prompt("hello"), super::first()).await.err().unwrap();
    assert_eq!((error.kind(), error.token()), (&RedeemErrorKind::Unreachable, TokenFate::Unspent));
    bench.expect_stock("unreachable", UNSPENT).await;
}

#[tokio::test]
async fn without_tokens_the_backend_is_not_asked() {
    let bench = Bench::new(0, Scripted::playing(vec![]).await).await;
    let error = bench.redeem("hello").await.err().unwrap();
    assert_eq!(error.kind(), &RedeemErrorKind::OutOfTokens { model: model(), maturing: None });
    assert!(bench.backend.seen().is_empty());
}

#[tokio::test]
async fn a_request_over_the_limit_draws_no_token() {
    let bench = Bench::new(3, Scripted::playing(vec![Act::completion("hi")]).await).await;
    let error = bench.redeem(&"x".repeat(249_000)).await.err().unwrap();
    assert_eq!(error.kind(), &RedeemErrorKind::TooLarge { limit: Some(250_000) });
    assert!(bench.backend.seen().is_empty());
    bench.expect_stock("too large", UNSPENT).await;
    // The longest that fits goes out, and is as long as the limit.
    bench.ask(&"x".repeat(248_000)).await.unwrap();
    assert_eq!(bench.backend.seen()[0].body.len(), 250_000);
}
