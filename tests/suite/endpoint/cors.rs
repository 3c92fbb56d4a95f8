//! Web pages: those of allowed origins may speak to the endpoint, and no others.

use serde_json::json;

use super::harness::{Response, Scripted, Server, Settings, hello, request, start_with};

const PAGE: &str = "https://app.example";

async fn start() -> Server {
    let allowed_origins = vec![PAGE.parse().unwrap(), "app://obsidian.md".parse().unwrap()];
    start_with(Scripted::echo(), Settings { allowed_origins, ..Settings::default() }).await
}

fn is_for(response: &Response, page: &str) -> bool {
    response.header("access-control-allow-origin") == Some(page)
        && response.header("vary") == Some("Origin")
        && response.header("access-control-allow-credentials").is_none()
        && response
            .header("access-control-expose-headers")
            .is_some_and(|exposed| exposed.contains("x-request-id"))
}

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_is_answered_without_a_key() {
    let server = start().await;
    let names = "authorization,content-type,x-stainless-lang,anthropic-version";
    for path in ["/v1/chat/completions", "/v1/models", "/canary"] {
        let headers = [
            ("origin", PAGE),
            ("authorization", ""),
            ("sec-fetch-site", "cross-site"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", names),
            ("access-control-request-private-network", "true"),
        ];
        let response = server.send(request(&format!("OPTIONS {path}"), &headers, "")).await;
        assert!(response.status == 204 && is_for(&response, PAGE), "{path}");
        assert_eq!(response.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
        assert_eq!(response.header("access-control-allow-headers"), Some(&*names.replace(',', ", ")));
        assert_eq!(response.header("access-control-allow-private-network"), Some("true"));
        assert_eq!(response.header("access-control-max-age"), Some("600"));
    }
    let headers =
        [("origin", "app://obsidian.md"), ("authorization", ""), ("access-control-request-method", "GET")];
    let response = server.send(request("OPTIONS /v1/models", &headers, "")).await;
    assert!(response.status == 204 && is_for(&response, "app://obsidian.md"));
    assert!(response.header("access-control-allow-headers").is_none());
    assert!(response.header("access-control-allow-private-network").is_none());
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_read_answers_streams_and_errors() {
    let server = start().await;
    let page = [("origin", PAGE), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")];
    for (body, status) in [(hello(""), 200), (hello(r#","stream":true"#), 200), (hello(r#","n":"a""#), 400)] {
        let response = server.send(request("POST /v1/chat/completions", &page, body)).await;
        assert!(response.status == status && is_for(&response, PAGE), "{status}");
    }
    let response = server.send(request("GET /v1/models", &page, "")).await;
    assert!(response.status == 200 && is_for(&response, PAGE));
    let response = server.send(request("GET /canary", &page, "")).await;
    assert!(response.status == 404 && is_for(&response, PAGE));
    // The key is asked for all the same, and this only looks like a preflight.
    for line in ["GET /v1/models", "OPTIONS /v1/models", "POST /v1/chat/completions"] {
        let response = server.send(request(line, &[("origin", PAGE), ("authorization", "")], "")).await;
        assert!(response.status == 401 && is_for(&response, PAGE), "{line}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_beside_the_list() {
    let server = start().await;
    let strangers: [&[(&str, &str)]; 5] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", PAGE), ("Origin", "https://evil.example")],
        &[("origin", "https://app.example.evil.example")],
        &[("sec-fetch-site", "cross-site")],
    ];
    for stranger in strangers {
        for line in ["OPTIONS /v1/chat/completions", "POST /v1/chat/completions", "GET /healthz"] {
            let mut headers = stranger.to_vec();
            headers.push(("access-control-request-method", "POST"));
            let response = server.send(request(line, &headers, hello(""))).await;
            assert_eq!(response.error(403).3, json!("origin_not_allowed"), "{line} {stranger:?}");
            assert!(response.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
        }
    }
    // An allowed page on a name that was rebound is none.
    let rebound = [("origin", PAGE), ("host", "evil.example"), ("access-control-request-method", "POST")];
    let response = server.send(request("OPTIONS /v1/models", &rebound, "")).await;
    assert_eq!(response.error(403).3, json!("host_not_allowed"));
    // And a program is answered as ever.
    let response = server.send(request("GET /v1/models", &[], "")).await;
    assert!(
        response.status == 200
            && response.headers.iter().all(|(name, _)| !name.starts_with("access-control"))
    );
}
