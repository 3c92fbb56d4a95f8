//! Request bodies: read, decoded and bounded.
//!
//! | `content-encoding` | body |
//! | --- | --- |
//! | none, `identity` | as it came |
//! | `gzip` (`x-gzip`), `deflate`, `zstd` | decoded while it comes |
//! | anything else, or several | 415 |
//!
//! The limit holds for what comes *and* for what it decodes to. So a bomb costs no more than a body at the limit: decoding
//! ends where the limit is passed, and what still comes is dropped unread.
//!
//! Deliberately absent: encodings of answers. Nothing is slow between two programs of one machine.

use std::io::{self, Write};

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, EXPECT, HeaderMap};
use zstd::stream::raw::Decoder as ZstdOperation;
use zstd::stream::zio::Writer as ZstdWriter;
use zstd::zstd_safe::DParameter;

use super::error::Failure;
use super::guard::only;

/// How much of a body that is too large is still read, so that the client, which writes before it reads,
/// sees the answer rather than a broken connection.
const DRAINED_BYTES: usize = 64 * 1024 * 1024;
/// zstd's window at most: eight megabytes, as RFC 9659 demands of the web.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The whole body, if it is within `limit` bytes.
pub(super) async fn read_body(request: Request<Incoming>, limit: usize) -> Result<Vec<u8>, Failure> {
    let awaits_consent = request.headers().contains_key(EXPECT);
    let encoding = Encoding::of(request.headers())?;
    let mut incoming = request.into_body();
    let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit && (awaits_consent || announced > DRAINED_BYTES) {
        return Err(Failure::BodyTooLarge { limit });
    }
    let mut decoding = Ok(Decoder::new(encoding, Bounded::new(limit, announced))?);
    let mut total = 0_usize;
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::BodyBroken)?.into_data() else { continue };
        total = total.saturating_add(data.len());
        if total > DRAINED_BYTES {
            break;
        }
        decoding = decoding.and_then(|decoder| {
            if total > limit { Err(Failure::BodyTooLarge { limit }) } else { decoder.take(&data) }
        });
    }
    decoding.and_then(Decoder::end)
}

/// What was done to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        if !headers.contains_key(CONTENT_ENCODING) {
            return Ok(Self::Identity);
        }
        let named = only(headers, &CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        match named.map(str::to_ascii_lowercase).as_deref() {
            Some("identity") => Ok(Self::Identity),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("deflate") => Ok(Self::Deflate),
            Some("zstd") => Ok(Self::Zstd),
            _ => Err(Failure::UnknownEncoding),
        }
    }
}

/// Decodes into a bounded buffer.
enum Decoder {
    Identity(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
    Deflate(Box<ZlibDecoder<Bounded>>),
    Zstd(Box<ZstdWriter<Bounded, ZstdOperation<'static>>>),
}

impl Decoder {
    fn new(encoding: Encoding, into: Bounded) -> Result<Self, Failure> {
        let zstd = || {
            let mut operation = ZstdOperation::new()?;
            operation.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
            Ok(operation)
        };
        Ok(match encoding {
            Encoding::Identity => Self::Identity(into),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(into))),
            Encoding::Deflate => Self::Deflate(Box::new(ZlibDecoder::new(into))),
            Encoding::Zstd => {
                Self::Zstd(Box::new(ZstdWriter::new(into, zstd().map_err(|error| failure(&error))?)))
            }
        })
    }

    fn take(mut self, data: &[u8]) -> Result<Self, Failure> {
        match &mut self {
            Self::Identity(bytes) => bytes.write_all(data),
            Self::Gzip(decoder) => decoder.write_all(data),
            Self::Deflate(decoder) => decoder.write_all(data),
            Self::Zstd(decoder) => decoder.write_all(data),
        }
        .map_err(|error| failure(&error))?;
        Ok(self)
    }

    /// What it came to. A body that ends in the middle of an encoding is refused.
    fn end(self) -> Result<Vec<u8>, Failure> {
        let ended = match self {
            Self::Identity(bytes) => Ok(bytes),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Deflate(decoder) => decoder.finish(),
            Self::Zstd(mut decoder) => decoder.finish().map(|()| decoder.into_inner().0),
        };
        ended.map(|bounded| bounded.bytes).map_err(|error| failure(&error))
    }
}

fn failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(&TooLarge { limit }) => Failure::BodyTooLarge { limit },
        None => Failure::BodyUndecodable,
    }
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

/// The limit would be passed.
#[derive(Debug, thiserror::Error)]
#[error("larger than {limit} bytes")]
struct TooLarge {
    limit: usize,
}

impl Bounded {
    fn new(limit: usize, expected: usize) -> Self {
        Self { bytes: Vec::with_capacity(expected.min(limit)), limit }
    }
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.bytes.len() {
            return Err(io::Error::other(TooLarge { limit: self.limit }));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Encoding; 4] = [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn encode(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => plain.to_vec(),
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(plain, 19).unwrap(),
        }
    }

    fn decode(encoding: Encoding, encoded: &[u8], pieces: usize, limit: usize) -> Result<Vec<u8>, Failure> {
        let decoder = Decoder::new(encoding, Bounded::new(limit, 0))?;
        encoded.chunks(pieces).try_fold(decoder, Decoder::take)?.end()
    }

    #[test]
    fn one_known_encoding_is_taken() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
            }
            Encoding::of(&headers).ok()
        };
        for (value, encoding) in [("gzip", ALL[1]), ("X-GZIP", ALL[1]), ("deflate", ALL[2]), ("zstd", ALL[3])]
        {
            assert_eq!(of(&[value]), Some(encoding));
        }
        assert_eq!((of(&[]), of(&["Identity"])), (Some(ALL[0]), Some(ALL[0])));
        for values in [&["br"][..], &[""], &["gzip, gzip"], &["gzip", "gzip"], &["canary"]] {
            assert_eq!(of(values), None, "{values:?}");
        }
    }

    #[test]
    fn a_bomb_is_noticed_at_the_limit_however_it_comes() {
        let limit = 100_000;
        for encoding in &ALL[1..] {
            let bomb = encode(*encoding, &vec![0; 50_000_000]);
            assert!(bomb.len() < limit);
            for pieces in [1000, bomb.len()] {
                let decoded = decode(*encoding, &bomb, pieces, limit);
                assert!(matches!(decoded, Err(Failure::BodyTooLarge { limit: told }) if told == limit));
            }
        }
    }

    #[test]
    fn a_window_that_needs_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        // Without a known size the frame declares its window.
        encoder.write_all(b"{}").unwrap();
        encoder.flush().unwrap();
        let frame = encoder.finish().unwrap();
        assert!(matches!(decode(Encoding::Zstd, &frame, 100, 1000), Err(Failure::BodyUndecodable)));
    }

    #[test]
    fn a_body_cut_short_or_damaged_is_refused() {
        let plain = "{\"model\":\"canary\"}".repeat(100).into_bytes();
        for encoding in &ALL[1..] {
            let encoded = encode(*encoding, &plain);
            for end in [0, 1, encoded.len() / 2, encoded.len() - 1] {
                assert!(decode(*encoding, &encoded[..end], 7, 10_000).is_err(), "{encoding:?} {end}");
            }
            assert!(decode(*encoding, b"{\"model\":1}", 7, 10_000).is_err(), "{encoding:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            plain in prop::collection::vec(any::<u8>(), 0..3000),
            repeat in 1_usize..20,
            pieces in 1_usize..500,
        ) {
            let plain = plain.repeat(repeat);
            for encoding in ALL {
                let encoded = encode(encoding, &plain);
                let decoded = decode(encoding, &encoded, pieces, plain.len());
                prop_assert!(decoded.is_ok_and(|decoded| decoded == plain), "{:?}", encoding);
                if !plain.is_empty() {
                    let short = decode(encoding, &encoded, pieces, plain.len() - 1);
                    prop_assert!(matches!(short, Err(Failure::BodyTooLarge { .. })), "{:?}", encoding);
                }
            }
        }

        #[test]
        fn no_bytes_break_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300), pieces in 1_usize..50) {
            for encoding in ALL {
                let _ = decode(encoding, &bytes, pieces, 1000);
            }
        }
    }
}
