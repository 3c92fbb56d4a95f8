//! Pictures inside a request.

/// `data:image/<type>;base64,<standard base64>`: the only form that the backend's moderation reads
/// (protocol.md §4). Checked by its characters; whether they are a picture is not our business.
pub fn is_inline_image(url: &str) -> bool {
    let Some((kind, data)) = url.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"))
    else {
        return false;
    };
    let kind_is_plain = !kind.is_empty()
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-'));
    let digits = data.trim_end_matches('=');
    kind_is_plain
        && !digits.is_empty()
        && data.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
