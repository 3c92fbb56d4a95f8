//! Every kind of failed redemption, as a client sees it.

use std::time::Duration;

use llmtor::anonymous::redeem::{Ending, Phase, RedeemErrorKind as Kind, TokenFate, UpstreamReason};
use llmtor::anonymous::transport::{NotReady, Stage};
use llmtor::clock::Timestamp;
use llmtor::wire::ModelName;
use serde_json::{Value, json};

use super::harness::{Scripted, hello, request, start};

/// Kind, fate; status, type, code; whether the SDK may repeat, and after how many seconds.
type Row = (Kind, TokenFate, u16, &'static str, &'static str, Option<&'static str>);

fn rows() -> Vec<Row> {
    use TokenFate::{InDoubt, Spent, Unspent};
    let model = || ModelName::new("gpt-4.1").unwrap();
    let upstream = |reason| Kind::Upstream { reason, message: "words".into() };
    let vault = || Kind::Vault { message: "the disk is full".into() };
    let pause = Some(Duration::from_millis(8_100));
    let starting = |retry_after| Kind::TransportNotReady {
        reason: NotReady::Bootstrapping { percent: 40, stage: Stage::Handshaking },
        retry_after,
    };
    let invalid = "invalid_request_error";
    let quota = "insufficient_quota";
    let server = "server_error";
    let permission = "permission_error";
    vec![
        (Kind::Paused, Unspent, 503, server, "paused", None),
        (Kind::Paused, InDoubt, 504, server, "paused", Some("5")),
        (Kind::ShuttingDown, Unspent, 503, server, "shutting_down", Some("5")),
        (Kind::ShuttingDown, InDoubt, 504, server, "shutting_down", Some("5")),
        (Kind::TooLarge { limit: Some(9) }, Unspent, 400, invalid, "context_length_exceeded", None),
        (Kind::OutOfTokens { model: model(), maturing: None }, Unspent, 429, quota, quota, None),
        (Kind::AbuseTokensMissing, Unspent, 403, permission, "abuse_token_missing", None),
        (Kind::AbuseTokensWanted, Unspent, 403, permission, "abuse_token_missing", None),
        (Kind::AbuseTokenInvalid, Unspent, 403, permission, "abuse_token_invalid", None),
        (Kind::AbuseTokenExpired, Unspent, 403, permission, "abuse_token_expired", None),
        (Kind::AbuseTokenBlacklisted, Unspent, 403, permission, "abuse_token_blacklisted", None),
        (Kind::AbuseTokenBlacklisted, InDoubt, 504, permission, "abuse_token_blacklisted", Some("5")),
        (vault(), InDoubt, 504, server, "vault_error", Some("5")),
        (Kind::OnlyUncertain { model: model() }, Unspent, 503, server, "tokens_uncertain", None),
        (Kind::AnswerUnproven { model: model() }, Spent, 502, "api_error", "answer_unproven", None),
        (Kind::AnswerOlder, Spent, 502, "api_error", "answer_older", None),
        (vault(), Unspent, 500, server, "vault_error", None),
        (starting(None), Unspent, 503, server, "tor_not_ready", Some("5")),
        (starting(None), InDoubt, 504, server, "tor_not_ready", Some("5")),
        (starting(pause), Unspent, 503, server, "tor_not_ready", Some("9")),
        (Kind::Unreachable, Unspent, 503, server, "backend_unreachable", Some("1")),
        (Kind::UnknownModel { model: model() }, Unspent, 404, invalid, "model_not_found", None),
        (Kind::RequestRefused { status: 400 }, Unspent, 502, "api_error", "backend_refused", None),
        (
            Kind::RateLimited { retry_after: pause },
            Unspent,
            429,
            "requests",
            "rate_limit_exceeded",
            Some("9"),
        ),
        (Kind::RateLimited { retry_after: None }, Unspent, 429, "requests", "rate_limit_exceeded", Some("5")),
        (Kind::RateLimited { retry_after: None }, InDoubt, 504, "requests", "rate_limit_exceeded", Some("5")),
        (Kind::TokenRefused { model: model() }, Unspent, 502, "api_error", "token_refused", None),
        (Kind::AnalysisFailed, Unspent, 503, server, "moderation_failed", Some("5")),
        (Kind::Blocked { categories: vec![] }, Spent, 400, invalid, "content_policy_violation", None),
        (upstream(UpstreamReason::RateLimited), Spent, 429, "requests", "rate_limit_exceeded", None),
        (upstream(UpstreamReason::ContextLength), Spent, 400, invalid, "context_length_exceeded", None),
        (upstream(UpstreamReason::InvalidRequest), Spent, 400, invalid, "upstream_invalid_request", None),
        (upstream(UpstreamReason::ContentPolicy), Spent, 400, invalid, "content_policy_violation", None),
        (upstream(UpstreamReason::Unavailable), Spent, 502, "api_error", "upstream_error", None),
        (upstream(UpstreamReason::Other), Spent, 502, "api_error", "upstream_error", None),
        (Kind::AnswerUnreadable, Spent, 502, "api_error", "invalid_upstream_answer", None),
        (Kind::AnswerLost, Spent, 502, "api_error", "answer_lost", None),
        (Kind::TokenReused, Spent, 502, "api_error", "token_reused", None),
        (Kind::TimedOut { phase: Phase::FirstByte }, InDoubt, 504, server, "backend_timeout", Some("1")),
        (Kind::ConnectionLost, InDoubt, 504, server, "connection_lost", Some("1")),
        // The same kind, but the token is gone: a repeat would take another.
        (Kind::ConnectionLost, Spent, 502, server, "connection_lost", None),
        (Kind::BackendGarbled, InDoubt, 504, server, "backend_garbled", Some("1")),
        (
            Kind::BackendFailing { status: 500, retry_after: None },
            InDoubt,
            504,
            server,
            "backend_failing",
            Some("1"),
        ),
        (
            Kind::BackendFailing { status: 500, retry_after: pause },
            InDoubt,
            504,
            server,
            "backend_failing",
            Some("9"),
        ),
        (Kind::Interrupted, InDoubt, 504, server, "interrupted", Some("1")),
    ]
}

#[tokio::test]
async fn every_kind_has_its_status_and_tells_the_sdk_whether_a_repeat_is_free() {
    for (kind, fate, status, typ, code, again) in rows() {
        let shown = format!("{kind:?} {fate:?}");
        let words = kind.to_string();
        let paused = kind == Kind::Paused;
        let server = start(Scripted::failing(kind, fate)).await;
        let response = server.chat(hello("")).await;
        let (message, found_type, param, found_code) = response.error(status);
        if fate == TokenFate::InDoubt {
            assert!(message.contains("same request") && message.contains("same token"), "{message}");
            assert_eq!(message.contains("after `llmtor resume`"), paused, "{message}");
        }
        assert_eq!((found_type.as_str(), &found_code), (typ, &json!(code)), "{shown}");
        let too_large = matches!(code, "context_length_exceeded") && words.contains("too long");
        assert_eq!(param, if too_large { json!("messages") } else { Value::Null }, "{shown}");
        assert!(message.starts_with(&words), "{message}");
        assert_eq!(
            response.header("x-should-retry"),
            Some(if again.is_some() { "true" } else { "false" }),
            "{shown}"
        );
        assert_eq!(response.header("retry-after"), again, "{shown}");
    }
}

/// What the identical request brings is not known: each API's clients are told so by status and header.
#[tokio::test]
async fn an_unknown_outcome_is_a_504_that_may_be_repeated_in_every_api() {
    let calls = [
        ("POST /v1/chat/completions", hello("")),
        ("POST /v1/responses", r#"{"model":"gpt-4.1","input":"hi"}"#.to_owned()),
        ("POST /v1/completions", r#"{"model":"gpt-4.1","prompt":"hi"}"#.to_owned()),
        ("POST /v1/messages", hello(r#","max_tokens":9"#)),
        ("POST /api/chat", hello("")),
        ("POST /api/generate", r#"{"model":"gpt-4.1","prompt":"hi"}"#.to_owned()),
    ];
    for kind in [
        Kind::TimedOut { phase: Phase::FirstByte },
        Kind::TimedOut { phase: Phase::Whole },
        Kind::ConnectionLost,
        Kind::BackendGarbled,
        Kind::BackendFailing { status: 502, retry_after: None },
        Kind::Interrupted,
    ] {
        for (line, body) in &calls {
            for body in [
                body.clone(),
                body.replace('}', r#","stream":true}"#).replace(r#""hi","stream":true}"#, r#""hi"}"#),
            ] {
                let server = start(Scripted::failing(kind.clone(), TokenFate::InDoubt)).await;
                let response = server.send(request(line, &[], &body)).await;
                assert_eq!(response.status, 504, "{kind:?} {line} {}", response.text());
                assert_eq!(response.header("x-should-retry"), Some("true"), "{kind:?} {line}");
                assert_eq!(response.header("retry-after"), Some("1"), "{kind:?} {line}");
            }
        }
    }
}

#[tokio::test]
async fn out_of_tokens_names_the_command_and_the_next_moment() {
    let model = ModelName::new("gpt-4.1").unwrap();
    let maturing = Some(Timestamp::from_unix(1_790_000_000));
    let server = start(Scripted::failing(Kind::OutOfTokens { model, maturing }, TokenFate::Unspent)).await;
    let (message, ..) = server.chat(hello("")).await.error(429);
    assert!(message.contains("llmtor tokens mint --model gpt-4.1 --count"), "{message}");
    assert!(message.ends_with("may be used from 2026-09-21T14:13:20Z"), "{message}");
}

#[tokio::test]
async fn a_block_names_its_categories() {
    let categories = vec!["harassment".into(), "violence".into()];
    let server = start(Scripted::failing(Kind::Blocked { categories }, TokenFate::Spent)).await;
    let (message, ..) = server.chat(hello("")).await.error(400);
    assert!(message.ends_with("(harassment, violence)"), "{message}");
}

#[tokio::test]
async fn an_answer_that_is_no_completion_is_a_502_that_is_not_repeated_and_not_kept() {
    for body in [r#"{"candidates":[]}"#, "<html>", "", "[]", r#"{"choices":[]}"#] {
        let server = start(Scripted::answering(body)).await;
        let response = server.chat(hello("")).await;
        let (.., code) = response.error(502);
        assert_eq!(code, json!("invalid_upstream_answer"));
        assert_eq!(response.header("x-should-retry"), Some("false"));
        assert_eq!(server.endings(1).await, [Ending::Delivered]);
    }
}
