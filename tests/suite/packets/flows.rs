//! TCP put together again: what each end said on each connection, searched for words that must not be there.
//!
//! Every byte is accounted for: a hole, two versions of the same bytes, or a connection whose beginning was not captured
//! is reported, for what cannot be read cannot be judged.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use crate::support::canary::Canary;

/// Which end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The client.
    Up,
    /// The service.
    Down,
}

/// One end of one connection, as a capture sees it: the service, the client's port, who speaks.
pub type Half = (SocketAddrV4, u16, Way);

/// One TCP segment.
pub struct Segment<'a> {
    pub half: Half,
    pub sequence: u32,
    pub syn: bool,
    pub payload: &'a [u8],
}

/// All connections of a capture.
#[derive(Default)]
pub struct Flows {
    halves: BTreeMap<Half, Vec<Said>>,
}

/// What one end said on one connection; the same pair of ports may serve another one later.
struct Said {
    first: u32,
    latest: (u32, i64),
    pieces: Vec<(i64, Vec<u8>)>,
}

impl Flows {
    /// Notes a segment; a complaint if nobody saw its connection begin.
    pub fn take(&mut self, segment: &Segment<'_>) -> Result<(), String> {
        let said = self.halves.entry(segment.half).or_default();
        if segment.syn && said.last().is_none_or(|said| said.first != segment.sequence) {
            // A SYN takes one number; what follows it has position 0.
            let start = segment.sequence.wrapping_add(1);
            said.push(Said { first: segment.sequence, latest: (start, 0), pieces: Vec::new() });
        }
        if segment.payload.is_empty() {
            return Ok(());
        }
        let Some(said) = said.last_mut() else {
            return Err("is of a connection that began before the capture".to_owned());
        };
        let sequence = if segment.syn { segment.sequence.wrapping_add(1) } else { segment.sequence };
        let (number, position) = said.latest;
        let step = i64::from(sequence.wrapping_sub(number).cast_signed());
        said.latest = (sequence, position + step);
        said.pieces.push((position + step, segment.payload.to_vec()));
        Ok(())
    }

    /// Each end of each connection with its unbroken stretches of bytes, and what is wrong with them.
    pub fn streams(self) -> Vec<(Half, Vec<Vec<u8>>, Vec<String>)> {
        let all = self.halves.into_iter();
        all.flat_map(|(half, said)| {
            said.into_iter().map(move |said| {
                let (stretches, complaints) = said.join();
                (half, stretches, complaints)
            })
        })
        .collect()
    }
}

impl Said {
    fn join(mut self) -> (Vec<Vec<u8>>, Vec<String>) {
        self.pieces.sort_by_key(|(position, _)| *position);
        let (mut stretches, mut complaints) = (vec![Vec::new()], Vec::new());
        // Where the last stretch begins and ends.
        let mut begin = self.pieces.first().map_or(0, |(position, _)| (*position).min(0));
        let mut end = begin;
        if begin < 0 {
            complaints.push("bytes before the first one".to_owned());
        }
        for (position, piece) in self.pieces {
            if position > end {
                complaints.push(format!("{} bytes were not captured", position - end));
                stretches.push(Vec::new());
                (begin, end) = (position, position);
            }
            let Some(stretch) = stretches.last_mut() else { continue };
            let known = usize::try_from(end - position).unwrap_or(usize::MAX).min(piece.len());
            let from = usize::try_from(position - begin).unwrap_or(usize::MAX);
            if stretch.get(from..).and_then(|rest| rest.get(..known)) != Some(&piece[..known]) {
                complaints.push("the same bytes came in two versions".to_owned());
                // Both are looked at.
                stretches.insert(stretches.len() - 1, piece);
                continue;
            }
            stretch.extend_from_slice(&piece[known..]);
            end = begin + length(stretches.last());
        }
        (stretches, complaints)
    }
}

fn length(bytes: Option<&Vec<u8>>) -> i64 {
    bytes.map_or(0, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

/// Looks for all canaries, in every disguise, in one pass.
pub struct Search {
    /// By their first byte: what it is, and its bytes.
    needles: Vec<Vec<(&'static str, Vec<u8>)>>,
}

impl Search {
    /// For `canaries`, which must be long enough to mean something.
    pub fn new(canaries: &[Canary]) -> Self {
        let mut needles = vec![Vec::new(); 256];
        for canary in canaries {
            for needle in canary.disguises() {
                assert!(needle.len() >= 8, "too short a canary proves nothing");
                needles[usize::from(needle[0])].push((canary.what, needle));
            }
        }
        Self { needles }
    }

    /// What is in `content`, each once.
    pub fn hits(&self, content: &[u8]) -> Vec<&'static str> {
        let mut found = Vec::new();
        for (at, first) in content.iter().enumerate() {
            for (what, needle) in &self.needles[usize::from(*first)] {
                if content[at..].starts_with(needle) && !found.contains(what) {
                    found.push(*what);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF: Half = (SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1), 2, Way::Up);

    fn segment(sequence: u32, syn: bool, payload: &[u8]) -> Segment<'_> {
        Segment { half: HALF, sequence, syn, payload }
    }

    fn joined(segments: &[Segment<'_>]) -> (Vec<Vec<u8>>, Vec<String>) {
        let mut flows = Flows::default();
        for segment in segments {
            flows.take(segment).unwrap();
        }
        let (_, stretches, complaints) = flows.streams().pop().unwrap();
        (stretches, complaints)
    }

    #[test]
    fn segments_that_come_twice_or_late_are_one_stream_over_the_end_of_the_numbers() {
        let start = u32::MAX - 3;
        let (stretches, complaints) = joined(&[
            segment(start, true, b""),
            segment(start, true, b""),
            segment(start.wrapping_add(1), false, b"abc"),
            segment(start.wrapping_add(7), false, b"gh"),
            segment(start.wrapping_add(2), false, b"bcdef"),
            segment(start.wrapping_add(1), false, b"abc"),
        ]);
        assert_eq!(stretches, [b"abcdefgh"]);
        assert!(complaints.is_empty(), "{complaints:?}");
    }

    #[test]
    fn a_hole_is_reported_and_nothing_is_read_across_it() {
        let (stretches, complaints) =
            joined(&[segment(9, true, b""), segment(10, false, b"ab"), segment(13, false, b"d")]);
        assert_eq!(stretches, [b"ab".to_vec(), b"d".to_vec()]);
        assert_eq!(complaints, ["1 bytes were not captured"]);
    }

    #[test]
    fn two_versions_of_the_same_bytes_are_reported_and_both_kept() {
        let (stretches, complaints) = joined(&[
            segment(9, true, b""),
            segment(10, false, b"abcd"),
            segment(12, false, b"XY"),
            segment(14, false, b"ef"),
        ]);
        assert_eq!(stretches, [b"XY".to_vec(), b"abcdef".to_vec()]);
        assert_eq!(complaints, ["the same bytes came in two versions"]);
        let (_, complaints) = joined(&[segment(9, true, b""), segment(5, false, b"ab")]);
        assert_eq!(complaints, ["bytes before the first one"]);
    }

    #[test]
    fn bytes_of_a_connection_whose_beginning_was_not_seen_are_reported() {
        let mut flows = Flows::default();
        assert!(flows.take(&segment(10, false, b"")).is_ok());
        assert!(flows.take(&segment(10, false, b"a")).unwrap_err().contains("before the capture"));
    }

    #[test]
    fn a_pair_of_ports_that_serves_twice_is_two_streams() {
        let mut flows = Flows::default();
        for (start, word) in [(100, b"one"), (7000, b"two")] {
            flows.take(&segment(start, true, b"")).unwrap();
            flows.take(&segment(start + 1, false, word)).unwrap();
        }
        let streams = flows.streams();
        assert_eq!(streams.len(), 2);
        assert_eq!((&streams[0].1, &streams[1].1), (&vec![b"one".to_vec()], &vec![b"two".to_vec()]));
    }

    proptest! {
        #[test]
        fn whatever_the_order_and_the_cuts_the_stream_is_what_was_said(
            said in prop::collection::vec(any::<u8>(), 1..200),
            cuts in prop::collection::vec((0usize..200, 1usize..40), 0..40),
            start in any::<u32>(),
        ) {
            let mut segments = vec![segment(start, true, b"")];
            let at = |position: usize| start.wrapping_add(1).wrapping_add(u32::try_from(position).unwrap());
            for (from, long) in cuts {
                let from = from.min(said.len() - 1);
                let to = (from + long).min(said.len());
                segments.push(segment(at(from), false, &said[from..to]));
            }
            segments.push(segment(at(0), false, &said));
            let (stretches, complaints) = joined(&segments);
            prop_assert_eq!(stretches, [said.clone()]);
            prop_assert!(complaints.is_empty());
        }

        #[test]
        fn no_sequence_of_segments_panics_and_no_byte_is_lost_silently(
            segments in prop::collection::vec((any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..20)), 0..20),
        ) {
            let mut flows = Flows::default();
            let mut refused = 0;
            for (sequence, syn, payload) in &segments {
                refused += usize::from(flows.take(&segment(*sequence, *syn, payload)).is_err());
            }
            let streams = flows.streams();
            let taken: usize = segments.iter().map(|(_, _, payload)| payload.len()).sum();
            let kept: usize = streams.iter().flat_map(|(_, stretches, _)| stretches).map(Vec::len).sum();
            let complaints = streams.iter().map(|(_, _, complaints)| complaints.len()).sum::<usize>();
            prop_assert!(refused + complaints > 0 || kept <= taken);
            for (_, _, payload) in segments.iter().filter(|(_, _, payload)| refused == 0 && !payload.is_empty()) {
                let found = streams.iter().flat_map(|(_, stretches, _)| stretches);
                let is_in = |stretch: &Vec<u8>| stretch.windows(payload.len()).any(|window| window == payload);
                let kept = found.into_iter().any(is_in);
                prop_assert!(kept);
            }
        }
    }
}
