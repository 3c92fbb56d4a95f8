//! The icon, drawn: one glyph (an onion in a rounded square) in five states that differ in shape as well as in colour, so
//! that they are told apart at 16 pixels, on light and on dark panels, and by eyes that see no red.
//!
//! | state | ground | glyph |
//! | --- | --- | --- |
//! | ready | violet | the onion, whole |
//! | starting | blue | three dots |
//! | low on tokens | amber | its lower third |
//! | paused | grey | two bars |
//! | trouble | red | an exclamation mark |

use crate::control::message::State;

/// Pixels a side; panels scale it.
pub(super) const SIZE: u32 = 32;
/// Samples a pixel, a side.
const SAMPLES: u32 = 4;

/// RGBA, row by row.
pub(super) fn rgba(state: State, size: u32) -> Vec<u8> {
    let (ground, glyph) = colours(state);
    let mut pixels = Vec::with_capacity((size * size * 4) as usize);
    for row in 0..size {
        for column in 0..size {
            let (mut sum, mut inside) = ([0u32; 3], 0u32);
            for sample in 0..SAMPLES * SAMPLES {
                let at = |pixel: u32, offset: u32| {
                    let fine = f64::from(pixel * SAMPLES + offset) + 0.5;
                    fine / f64::from(size * SAMPLES)
                };
                let (x, y) = (at(column, sample % SAMPLES), at(row, sample / SAMPLES));
                if !is_ground(x, y) {
                    continue;
                }
                inside += 1;
                let colour = if is_glyph(state, x, y) { glyph } else { ground };
                for (sum, part) in sum.iter_mut().zip(colour) {
                    *sum += u32::from(part);
                }
            }
            let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
            pixels.extend(sum.map(|sum| byte(sum / inside.max(1))));
            pixels.push(byte(255 * inside / (SAMPLES * SAMPLES)));
        }
    }
    pixels
}

/// An uncompressed PNG of the icon, for the guide and the packages.
pub fn png(state: State, size: u32) -> Vec<u8> {
    let pixels = rgba(state, size);
    let mut raw = Vec::with_capacity(pixels.len() + size as usize);
    for row in pixels.chunks(size as usize * 4) {
        raw.push(0);
        raw.extend_from_slice(row);
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::new();
    head.extend(size.to_be_bytes());
    head.extend(size.to_be_bytes());
    head.extend([8, 6, 0, 0, 0]);
    chunk(&mut file, *b"IHDR", &head);
    chunk(&mut file, *b"IDAT", &stored(&raw));
    chunk(&mut file, *b"IEND", &[]);
    file
}

/// zlib with stored blocks.
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = raw.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in raw {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) {
    file.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    file.extend(kind);
    file.extend_from_slice(body);
    let mut crc = u32::MAX;
    for byte in kind.iter().chain(body) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    file.extend((!crc).to_be_bytes());
}

/// Ground and glyph.
fn colours(state: State) -> ([u8; 3], [u8; 3]) {
    const WHITE: [u8; 3] = [255, 255, 255];
    match state {
        State::Ready => ([0x7D, 0x46, 0x98], WHITE),
        State::Starting => ([0x2F, 0x6F, 0xB5], WHITE),
        State::LowOnTokens => ([0xA8, 0x5A, 0x00], WHITE),
        State::Paused => ([0x6B, 0x70, 0x78], WHITE),
        State::Trouble => ([0xC2, 0x2B, 0x2B], WHITE),
    }
}

/// A square with round corners; everything in a square of side 1, from the upper left.
fn is_ground(x: f64, y: f64) -> bool {
    const RADIUS: f64 = 0.22;
    let beyond = |at: f64| (RADIUS - at).max(at - (1.0 - RADIUS)).max(0.0);
    beyond(x).hypot(beyond(y)) <= RADIUS
}

fn is_glyph(state: State, x: f64, y: f64) -> bool {
    match state {
        State::Ready => is_onion(x, y, 1.0),
        State::Starting => [0.24, 0.5, 0.76].iter().any(|dot| (x - dot).hypot(y - 0.5) < 0.11),
        State::LowOnTokens => {
            let is_line = is_onion(x, y, 1.0) && !is_onion(x, y, 0.76);
            is_line || (is_onion(x, y, 1.0) && y > 0.64)
        }
        State::Paused => (0.22..0.78).contains(&y) && (0.12..0.27).contains(&(x - 0.5).abs()),
        State::Trouble => {
            let is_stroke = (0.16..0.60).contains(&y) && (x - 0.5).abs() < 0.105;
            is_stroke || (x - 0.5).hypot(y - 0.755) < 0.115
        }
    }
}

/// A bulb with a tip, `scale` times its size around its middle.
fn is_onion(x: f64, y: f64, scale: f64) -> bool {
    let (x, y) = ((x - 0.5) / scale, (y - 0.58) / scale);
    let is_bulb = x.hypot(y) < 0.29;
    // The tip: narrower with height, with flanks that run into the bulb.
    let height = (-0.10 - y) / 0.34;
    let is_tip = (0.0..1.0).contains(&height) && x.abs() < 0.27 * (1.0 - height).powi(2);
    is_bulb || is_tip
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(colour: [u8; 3]) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
    }

    fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn glyph_and_ground_stand_out_from_one_another_and_from_light_and_dark_panels() {
        for state in State::ALL {
            let (ground, glyph) = colours(state);
            assert!(contrast(ground, glyph) >= 4.5, "{state:?}");
            for panel in [[0xF5; 3], [0x24; 3]] {
                assert!(contrast(ground, panel) >= 2.0, "{state:?} on {panel:?}");
            }
        }
    }

    #[test]
    fn at_sixteen_pixels_each_two_states_differ_in_shape_alone() {
        // What is left of the colours: how much of each pixel is glyph.
        let shape = |state: State| -> Vec<i32> {
            let (ground, glyph) = colours(state);
            let (low, high) = (i32::from(ground[1]), i32::from(glyph[1]));
            let pixels = rgba(state, 16);
            let of = |pixel: &[u8]| {
                if pixel[3] == 0 { 0 } else { 100 * (i32::from(pixel[1]) - low) / (high - low) }
            };
            pixels.chunks(4).map(of).collect()
        };
        for (at, one) in State::ALL.into_iter().enumerate() {
            for other in &State::ALL[at + 1..] {
                let differing =
                    shape(one).iter().zip(shape(*other)).filter(|(a, b)| (*a - b).abs() > 50).count();
                assert!(differing >= 16, "{one:?} and {other:?}: {differing} pixels");
            }
        }
    }

    #[test]
    fn corners_are_clear_and_the_middle_is_not() {
        let pixels = rgba(State::Ready, SIZE);
        assert_eq!((pixels[3], pixels.len()), (0, (SIZE * SIZE * 4) as usize));
        let middle = ((SIZE / 2 * SIZE + SIZE / 2) * 4) as usize;
        assert_eq!(pixels[middle..middle + 4], [255; 4]);
    }
}
