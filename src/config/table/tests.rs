use super::*;

#[test]
fn every_default_is_of_its_own_kind() {
    for key in KEYS {
        if let Some(value) = key.default.value() {
            assert!(key.kind.accepts(&value), "{}", key.path);
        }
        if let Preset::Unset(text) = key.default {
            assert!(key.kind.accepts(&toml::Value::String(text.into())), "{}", key.path);
        }
    }
}

#[test]
fn the_nearest_key_is_the_one_meant() {
    assert_eq!(nearest("server.lisen"), "server.listen");
    assert_eq!(nearest("sever.listen"), "server.listen");
    assert_eq!(nearest("listen"), "server.listen");
    assert_eq!(nearest("identity_url"), "backend.identity_url");
    assert_eq!(nearest("anonymous.anonymous_url"), "backend.anonymous_url");
    assert_eq!(nearest("vault.keystore"), "vault.key_store");
    assert_eq!(nearest("log.levle"), "log.level");
}

#[test]
fn plain_http_is_for_this_machine_only_on_the_identity_plane() {
    let accepts = |text: &str| Kind::IdentityUrl.accepts(&toml::Value::String(text.into()));
    assert!(accepts("https://api.example.org"));
    assert!(accepts("http://127.0.0.1:9797"));
    assert!(accepts("http://localhost:9797"));
    assert!(accepts("http://[::1]:9797"));
    assert!(accepts("http://abcdefghij.onion"));
    assert!(!accepts("http://api.example.org"));
    assert!(!accepts("http://abcdefghij.onion.example.org"));
    assert!(!accepts("http://127.0.0.1.evil.example"));
    assert!(!accepts("https://user:pass@api.example.org"));
    assert!(!accepts("ftp://127.0.0.1"));
    assert!(!accepts("api.example.org"));
}
