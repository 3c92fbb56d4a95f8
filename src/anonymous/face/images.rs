//! Pictures: inside a request, or, where the user wants that, somewhere on the web.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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

/// The picture whose standard base64 is `data`, in that form: what kind it is, its first bytes say. `None` where it is none
/// of those that every model takes. White space in it, as some encoders write it, does not count.
pub fn inlined(data: &str) -> Option<String> {
    let data: String = data.split_ascii_whitespace().collect();
    let head = STANDARD.decode(data.get(..16)?).ok()?;
    let kind = match *head {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, 0xff, ..] => "jpeg",
        [b'G', b'I', b'F', b'8', ..] => "gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => "webp",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{data}")).filter(|url| is_inline_image(url))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        let heads: [(&[u8], &str); 4] = [
            (b"\x89PNG\r\n\x1a\n0000", "png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF00", "jpeg"),
            (b"GIF89a000000", "gif"),
            (b"RIFF0000WEBPVP8 ", "webp"),
        ];
        for (head, kind) in heads {
            let data = STANDARD.encode(head);
            assert_eq!(inlined(&data), Some(format!("data:image/{kind};base64,{data}")));
            let (first, second) = data.split_at(9);
            assert_eq!(inlined(&format!("{first}\r\n{second}\n")), inlined(&data));
        }
        for data in ["", "AA==", "iVBORw0KGgo", &STANDARD.encode("RIFF0000WAVEfmt "), "iVBORw0KGgoAAAAA?"] {
            assert_eq!(inlined(data), None, "{data}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_inlined_is_a_form_that_the_backend_reads(rest in "[A-Za-z0-9+/= \n]{0,40}", any in "\\PC*") {
            for data in [format!("iVBORw0KGgo{rest}"), any] {
                if let Some(url) = inlined(&data) {
                    prop_assert!(is_inline_image(&url));
                }
            }
        }
    }
}
