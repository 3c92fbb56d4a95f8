//! Bridges that moved.
//!
//! Arti knows a bridge by its identity, and keeps the address with which it first saw it: a line with the same fingerprint and another
//! address or port is never dialled. So a bridge that is kept with addresses of which no configured line of its fingerprint has one is
//! forgotten before a client begins, and taken in anew from its line. Other guards, and other bridges, stay: that a client keeps its guards is what
//! protects it.
//!
//! Whatever is not understood is left alone.

use std::path::Path;

/// Forgets them in the file of guards. No client may be running.
pub(super) fn forget_moved(guards: &Path, arti: &toml::Table) {
    let lines = lines(arti);
    if lines.is_empty() {
        return;
    }
    let Ok(text) = std::fs::read_to_string(guards) else { return };
    if let Some(text) = without_moved(&text, &lines)
        && write(guards, &text).is_ok()
    {
        tracing::info!("a bridge has another address than before; the earlier one is forgotten");
    }
}

fn write(guards: &Path, text: &str) -> std::io::Result<()> {
    let beside = guards.with_extension("json.moved");
    // The mode of a file that Arti made: the owner's alone.
    std::fs::copy(guards, &beside)?;
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, guards)
}

fn lines(arti: &toml::Table) -> Vec<String> {
    let bridges = arti.get("bridges").and_then(|bridges| bridges.get("bridges"));
    let lines: Vec<&str> = match bridges {
        Some(toml::Value::Array(lines)) => lines.iter().filter_map(toml::Value::as_str).collect(),
        // Arti takes one text of several lines, too.
        Some(toml::Value::String(text)) => text.lines().collect(),
        _ => Vec::new(),
    };
    lines.into_iter().map(str::to_ascii_lowercase).collect()
}

/// The file without them; `None` if there are none.
fn without_moved(text: &str, lines: &[String]) -> Option<String> {
    let mut file: serde_json::Value = serde_json::from_str(text).ok()?;
    let guards = file.get_mut("bridges")?.get_mut("guards")?.as_array_mut()?;
    let before = guards.len();
    guards.retain(|guard| !has_moved(guard, lines));
    (guards.len() < before).then(|| file.to_string())
}

fn has_moved(guard: &serde_json::Value, lines: &[String]) -> bool {
    let Some(rsa) = guard.pointer("/id/rsa").and_then(serde_json::Value::as_str) else { return false };
    let rsa = rsa.to_ascii_lowercase();
    let mut named = lines.iter().filter(|line| line.contains(&rsa)).peekable();
    let Some(addresses) = guard.get("orports").and_then(serde_json::Value::as_array) else { return false };
    let addresses: Vec<&str> = addresses.iter().filter_map(serde_json::Value::as_str).collect();
    if named.peek().is_none() || addresses.is_empty() {
        return false;
    }
    !named.any(|line| line.split_whitespace().any(|word| addresses.contains(&word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    fn file() -> String {
        let guard = |rsa: &str, address: &str| serde_json::json!({"id": {"ed25519": null, "rsa": rsa.to_ascii_lowercase()}, "orports": [address]});
        let others = "89abcdef0123456789abcdef0123456789abcdef";
        let bridges = [guard(FINGERPRINT, "192.0.2.1:443"), guard(others, "192.0.2.9:443")];
        serde_json::json!({
            "default": {"guards": [guard(FINGERPRINT, "192.0.2.1:443")]},
            "bridges": {"guards": bridges, "confirmed": []},
        })
        .to_string()
    }

    fn left(line: &str) -> Option<serde_json::Value> {
        let arti = format!("[bridges]\nbridges = [\"{line}\"]").parse().unwrap();
        without_moved(&file(), &lines(&arti)).map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_bridge_with_another_address_is_forgotten_and_everything_else_stays() {
        for line in
            [format!("192.0.2.2:443 {FINGERPRINT}"), format!("obfs4 192.0.2.1:9001 {FINGERPRINT} cert=x")]
        {
            let left = left(&line).unwrap();
            let count = |of: &str| left[of]["guards"].as_array().unwrap().len();
            assert_eq!((count("bridges"), count("default")), (1, 1), "{line}");
            assert_eq!(left["bridges"]["guards"][0]["orports"][0], "192.0.2.9:443");
        }
        assert_eq!(left(&format!("192.0.2.1:443 {FINGERPRINT}")), None);
        assert_eq!(left("192.0.2.7:443 89ABCDEF0123456789ABCDEF0123456789ABCDE0"), None);
    }

    #[test]
    fn the_file_is_replaced_and_what_is_no_file_of_guards_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("guards.json");
        let arti =
            format!("[bridges]\nbridges = \"\"\"\n192.0.2.2:443 {FINGERPRINT}\n\"\"\"").parse().unwrap();
        for text in ["", "[]", "{\"bridges\": 1}"] {
            std::fs::write(&path, text).unwrap();
            forget_moved(&path, &arti);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::write(&path, file()).unwrap();
        forget_moved(&path, &arti);
        assert!(
            !std::fs::read_to_string(&path)
                .unwrap()
                .contains("\"bridges\":{\"guards\":[{\"id\":{\"ed25519\":null,\"rsa\":\"0123")
        );
        assert_eq!(std::fs::read_dir(room.path()).unwrap().count(), 1);
    }
}
