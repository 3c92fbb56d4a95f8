//! Our blind signatures against the official client's library (`@cloudflare/blindrsa-ts`), both ways.
//!
//! Needs Node and `npm ci` in `tests/cross`. Without them the test says so and passes, except where `CI` is set.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmtor::blind::{BlindSignature, PublicKey, TokenMessage};
use serde_json::{Value, json};

use super::issuer;

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cross"))
}

fn is_ready() -> bool {
    let installed = directory().join("node_modules/@cloudflare/blindrsa-ts").is_dir();
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let ready = installed && node;
    if !ready {
        let missing = if node { "`npm ci` was not run in tests/cross" } else { "there is no `node`" };
        assert!(std::env::var_os("CI").is_none(), "the cross-check cannot run: {missing}");
        eprintln!("NOT CHECKED against @cloudflare/blindrsa-ts: {missing}");
    }
    ready
}

fn node(request: &Value) -> Value {
    let mut child = Command::new("node")
        .arg("cross.mjs")
        .current_dir(directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    child.stdin.take().expect("stdin").write_all(request.to_string().as_bytes()).expect("written");
    let output = child.wait_with_output().expect("output");
    assert!(output.status.success(), "node failed at {}", request["step"]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn decode(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("text")).expect("base64")
}

fn spki(key: &PublicKey) -> String {
    key.to_spki_pem().expect("pem").lines().filter(|line| !line.starts_with('-')).collect()
}

#[test]
fn what_the_official_library_blinds_and_finalizes_verifies_here() {
    if !is_ready() {
        return;
    }
    let key = issuer::public_key(0);
    let token = TokenMessage::credit(&mut rand::rng());
    let message = encode(token.expose());
    let blinding = node(&json!({"step": "blind", "spki": spki(&key), "message": message}));
    let signed = issuer::sign(0, &decode(&blinding["blinded"]));
    let finalized = node(&json!({
        "step": "finalize", "spki": spki(&key), "message": message,
        "blindSignature": encode(&signed), "inv": blinding["inv"],
    }));
    assert_eq!(key.verify(token.expose(), &decode(&finalized["signature"])), Ok(()));
}

#[test]
fn what_is_blinded_and_finalized_here_verifies_in_the_official_library() {
    if !is_ready() {
        return;
    }
    let key = issuer::public_key(0);
    let token = TokenMessage::credit(&mut rand::rng());
    let blinding = &key.blind_batch(&mut rand::rng(), std::slice::from_ref(&token)).expect("blinded")[0];
    let signed = node(&json!({
        "step": "sign", "pkcs8": encode(&issuer::private_key(0)), "blinded": encode(blinding.blinded.as_bytes()),
    }));
    let signature = BlindSignature::from_bytes(decode(&signed["blindSignature"]));
    let signature = key.finalize(&signature, &blinding.secret, &token).expect("finalized");
    let verdict = |message: &[u8]| {
        node(&json!({
            "step": "verify", "spki": spki(&key), "message": encode(message), "signature": encode(signature.expose()),
        }))
    };
    assert_eq!(verdict(token.expose()), json!({"library": true, "openssl": true}));
    assert_eq!(verdict(b"another"), json!({"library": false, "openssl": false}));
}
