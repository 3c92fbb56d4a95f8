//! Pictures that a request only points to.

use std::time::Duration;

use llmtor::anonymous::face::{Images, Rules};
use llmtor::anonymous::http::Conduct;
use llmtor::anonymous::transport::fetch::{Fetch, FetchError, Fetching, Picture};
use serde_json::{Value, json};

use super::harness::{Scripted, Settings, start, start_with};

/// A web that has one picture.
struct Web;

impl Fetch for Web {
    fn fetch<'a>(&'a self, url: &'a str, most: usize) -> Fetching<'a> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            match url {
                "https://a.example/x.png" => Ok(Picture { kind: "png".into(), bytes: vec![0; most.min(3)] }),
                _ => Err(FetchError::Refused),
            }
        })
    }
}

fn asking(urls: &[&str]) -> String {
    let parts: Vec<_> = urls
        .iter()
        .map(|url| json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}}))
        .collect();
    json!({"model": "gpt-4.1", "messages": [{"role": "user", "content": parts}]}).to_string()
}

fn fetching() -> Settings {
    Settings {
        conduct: Conduct {
            rules: Rules { images: Images::Fetched, ..Rules::default() },
            ..Conduct::default()
        },
        pictures: Some(Box::new(Web)),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_picture_on_the_web_is_refused_unless_the_user_wants_it_fetched() {
    let server = start(Scripted::untouched()).await;
    let response = server.chat(asking(&["https://a.example/x.png"])).await;
    let (message, _, param, _) = response.error(400);
    assert_eq!(param, "messages[0].content[0].image_url.url");
    assert!(message.contains("images.fetch_over_tor"), "{message}");
}

#[tokio::test]
async fn a_fetched_picture_goes_on_inside_the_request() {
    let server = start_with(Scripted::echo(), fetching()).await;
    let response = server.chat(asking(&["https://a.example/x.png", "data:image/gif;base64,AAAA"])).await;
    let said: Value =
        serde_json::from_str(response.json()["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    let urls: Vec<_> = [0, 1].map(|at| said[0]["content"][at]["image_url"]["url"].clone()).into();
    assert_eq!(urls, ["data:image/png;base64,AAAA", "data:image/gif;base64,AAAA"]);
    assert_eq!(said[0]["content"][0]["image_url"]["detail"], "low");
}

#[tokio::test]
async fn a_picture_that_cannot_be_had_fails_the_request_before_it_costs_anything() {
    let server = start_with(Scripted::untouched(), fetching()).await;
    let response = server.chat(asking(&["https://a.example/x.png", "https://canary.example/y"])).await;
    let (message, _, param, code) = response.error(400);
    assert_eq!((param, code), (json!("messages[0].content[1].image_url.url"), json!("invalid_image_url")));
    assert!(!message.contains("canary"), "{message}");
    let many = server.chat(asking(&["https://a.example/x.png"; 9])).await;
    assert_eq!(many.error(400).2, "messages");
}
