//! Pictures on the web, fetched by exits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::front::{Front, Manner};
use crate::support::house::MODEL;
use crate::support::tor_world::TorWorld;
use crate::support::tornet;

const PICTURE: &str = "not much of a picture";

#[test]
fn a_picture_on_the_web_is_fetched_through_an_exit_without_a_word_of_the_prompt() {
    let Some(network) = tornet::using() else { return };
    let mut world = TorWorld::new(&network, 1);
    let name = format!("pictures-{}.test", uuid::Uuid::new_v4().simple());
    let site = Front::start(&network.doors(), &name, world.address());
    site.treat_all(Manner::Answer { status: 200, kind: "image/png", body: PICTURE });
    network.resolver().tell(&name);
    let roots = world.write("both.pem", &format!("{}{}", world.front.authority(), site.authority()));
    world.set(format!("tls.extra_roots={roots}"));
    let url = format!("https://{name}:{}/some/where.png?at=1", site.port());
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "What is on it?"}, {"type": "image_url", "image_url": {"url": url}}]}]})
    .to_string();

    let daemon = world.serve(&[]);
    let refused = daemon.post_chat(&[], &body);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.error_message().contains("images.fetch_over_tor"), "{}", refused.body);
    assert!(site.connections().is_empty());
    drop(daemon);

    world.set("images.fetch_over_tor=true");
    let daemon = world.serve(&[]);
    let reply = daemon.post_chat(&[], &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let [visit] = &site.connections()[..] else { panic!("{:?}", site.connections()) };
    assert!(network.exit_at(visit.door).is_some(), "an exit came");
    let asked = String::from_utf8_lossy(&visit.request).into_owned();
    assert!(asked.starts_with("GET /some/where.png?at=1 HTTP/1.1\r\n"), "{asked}");
    for told in ["What is on it", &daemon.api_key, "uthorization", "ookie", "eferer"] {
        assert!(!asked.contains(told), "{told}: {asked}");
    }
    let call = world.front.calls().pop().expect("a call");
    let sent = String::from_utf8_lossy(&call.request).into_owned();
    assert!(sent.contains(&format!("data:image/png;base64,{}", STANDARD.encode(PICTURE))), "{sent}");
    assert!(!sent.contains(&name), "the backend learns what is on it, and not where it was");
    world.books().assert_balanced(1);
}
