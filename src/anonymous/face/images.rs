//! Pictures: inside a request, or, where the user wants that, somewhere on the web.

use super::Images;
use super::error::RequestError;
use crate::anonymous::emulate::conversation::{Detail, Image, Part, RemoteImage};

/// The picture at `url`, which stands at `place` in the request.
pub fn part(url: String, detail: Option<Detail>, place: &str, images: Images) -> Result<Part, RequestError> {
    if is_inline_image(&url) {
        return Ok(Part::Image(Image { url, detail }));
    }
    let on_the_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    match images {
        Images::Fetched if on_the_web => {
            Ok(Part::Remote(RemoteImage { url, detail, place: place.to_owned() }))
        }
        Images::Fetched => Err(RequestError::invalid_value(
            place,
            "a picture is an https:// URL, or inline as data:image/<type>;base64,<data>",
        )),
        Images::InlineOnly => Err(RequestError::invalid_value(
            place,
            "only inline images are supported, as data:image/<type>;base64,<data>; nothing is fetched for you, \
             unless images.fetch_over_tor is set in the configuration",
        )),
    }
}

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
