//! Words that must not be found where they have no business, in every form in which they would be of use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Something that must not be found: what it is, and its bytes.
pub struct Canary {
    pub what: &'static str,
    pub bytes: Vec<u8>,
}

impl Canary {
    pub fn new(what: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { what, bytes: bytes.into() }
    }

    /// As it is, as hex in either case, as base64 at each of the three alignments, and text also as UTF-16 of either order.
    pub fn disguises(&self) -> Vec<Vec<u8>> {
        let hex = hex(&self.bytes);
        let mut all = vec![self.bytes.clone(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
        for skipped in 0..3 {
            // Only whole groups, so that neighbours do not change the text.
            let whole = self.bytes.get(skipped..).unwrap_or_default();
            let whole = &whole[..whole.len() / 3 * 3];
            if whole.len() >= 9 {
                all.push(STANDARD.encode(whole).into_bytes());
            }
        }
        if let Ok(text) = std::str::from_utf8(&self.bytes) {
            all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
            all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        }
        all
    }

    pub fn is_in(&self, content: &[u8]) -> bool {
        self.disguises().iter().any(|needle| contains(content, needle))
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

pub fn contains(content: &[u8], needle: &[u8]) -> bool {
    assert!(needle.len() >= 8, "too short a canary proves nothing");
    let first = needle[0];
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
