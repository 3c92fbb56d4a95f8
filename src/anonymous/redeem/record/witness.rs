//! Stands in a stream and sees what is written on it: keeps the head of the request, counts the rest.
//!
//! The head holds no secret (the payment is in the body), and it ends with the first empty line; from there on no byte is
//! kept, not even for a moment. A head that has no end within [`LONGEST_HEAD`] is dropped.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Sending;
use crate::anonymous::transport::{Departure, Stream};

/// The real one has some two hundred bytes.
const LONGEST_HEAD: usize = 2048;
const END: &[u8] = b"\r\n\r\n";

/// Sees what is written on one stream.
#[derive(Clone, Default)]
pub(in crate::anonymous::redeem) struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    head: Vec<u8>,
    state: State,
    body: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    InHead,
    InBody,
    /// There was no end of a head.
    Lost,
}

impl Witness {
    /// `stream`, seen.
    pub(in crate::anonymous::redeem) fn watch(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(Watched { stream, witness: self.clone() })
    }

    /// What left by `departure`; `None` if not a byte did.
    pub(in crate::anonymous::redeem) fn testify(&self, departure: Departure) -> Option<Sending> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.head.is_empty() && seen.body == 0 {
            return None;
        }
        let head = (seen.state == State::InBody).then(|| String::from_utf8_lossy(&seen.head).into());
        Some(Sending { head, body: seen.body, departure })
    }

    fn see(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).see(bytes);
    }
}

impl Seen {
    fn see(&mut self, bytes: &[u8]) {
        if self.state != State::InHead {
            self.body += bytes.len() as u64;
            return;
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.head.push(*byte);
            let rest = bytes.len() - at - 1;
            if self.head.ends_with(END) {
                self.head.truncate(self.head.len() - END.len());
                self.state = State::InBody;
            } else if self.head.len() >= LONGEST_HEAD {
                self.head.clear();
                self.state = State::Lost;
            } else {
                continue;
            }
            self.body += rest as u64;
            return;
        }
    }
}

struct Watched {
    stream: Box<dyn Stream>,
    witness: Witness,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.witness.see(&bytes[..*count]);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = &written {
            let mut left = *count;
            for slice in slices {
                let seen = slice.len().min(left);
                self.witness.see(&slice[..seen]);
                left -= seen;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::anonymous::transport::{Company, Way};

    const DEPARTURE: Departure = Departure { way: Way::Tor, company: Company::Nobody };

    fn testimony(pieces: &[&[u8]]) -> Option<Sending> {
        let witness = Witness::default();
        for piece in pieces {
            witness.see(piece);
        }
        witness.testify(DEPARTURE)
    }

    proptest! {
        #[test]
        fn the_head_is_kept_and_the_body_only_counted_however_they_are_cut(
            lines in prop::collection::vec("[a-z: ]{1,30}", 1..6),
            body in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(0usize..600, 0..6),
        ) {
            let head = lines.join("\r\n");
            let whole = [head.as_bytes(), END, &body].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.push(whole.len());
            cuts.sort_unstable();
            let mut begin = 0;
            let pieces: Vec<&[u8]> = cuts.iter().map(|end| {
                let piece = &whole[begin..*end];
                begin = *end;
                piece
            }).collect();
            let seen = testimony(&pieces).unwrap();
            prop_assert_eq!(seen.head.as_deref(), Some(head.as_str()));
            prop_assert_eq!(seen.body, body.len() as u64);
        }
    }

    #[test]
    fn nothing_written_is_nothing_sent_and_a_head_without_end_is_dropped() {
        assert_eq!(testimony(&[]), None);
        let cut = testimony(&[b"POST / HTTP/1.1\r\nhost: x\r\n"]).unwrap();
        assert_eq!((cut.head, cut.body), (None, 0));
        let witness = Witness::default();
        witness.see(&[b'x'; 4 * LONGEST_HEAD]);
        assert!(witness.0.lock().unwrap().head.is_empty());
        assert_eq!(witness.testify(DEPARTURE).unwrap().head, None);
    }
}
