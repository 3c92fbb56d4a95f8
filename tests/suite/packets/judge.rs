//! The judge: captured packets and what is allowed in, verdicts out. A pure function.
//!
//! It is a list of what may be, not of what may not: a packet is a TCP segment between the client and one of the allowed
//! services, or it has a verdict. None is skipped; one that cannot be read has a verdict too. Nothing is allowed for the
//! kernel's own sake: in the namespace that is judged there is no ARP, no neighbour discovery and no multicast.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Duration;

use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};

use super::flows::{Flows, Half, Search, Segment, Way};
use crate::support::canary::{Canary, contains};

/// What one connection may say outside its service's time: the end of TLS, twice over.
const FAREWELL: usize = 64;
const ETHERNET: usize = 14;

/// One captured frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Since 1970.
    pub at: Duration,
    pub bytes: Vec<u8>,
    /// How long it was on the wire.
    pub length: usize,
}

/// What may leave and come in.
pub struct AllowList {
    pub client: Ipv4Addr,
    pub services: Vec<Service>,
    /// Nobody but the exits may ask for these.
    pub names: Vec<String>,
    /// What may not be readable.
    pub canaries: Vec<Canary>,
}

/// Whom the client may talk to over TCP.
#[derive(Clone)]
pub struct Service {
    pub at: SocketAddrV4,
    pub when: When,
    pub content: Content,
}

/// When a service may be talked to.
#[derive(Clone)]
pub enum When {
    Always,
    /// Connections begin and speak in these times only.
    During(Vec<RangeInclusive<Duration>>),
}

/// What may be said to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing that a canary is in.
    Sealed,
    /// Anything; on loopback.
    Open,
}

/// What found a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detector {
    /// It cannot be read, or not whole.
    Unreadable,
    /// Not IP, or neither TCP, UDP nor ICMP in it.
    Link,
    Ipv6,
    Icmp,
    /// Names the backend.
    Dns,
    /// Any other.
    Udp,
    /// TCP with somebody who is not on the list, or not at this time, or begun from outside.
    Flow,
    /// A canary is in it.
    Clear,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub detector: Detector,
    pub what: String,
}

/// What there was.
#[derive(Debug, Default)]
pub struct Report {
    pub verdicts: Vec<Verdict>,
    /// Per allowed service: connections, and bytes said to it and by it.
    pub contacts: BTreeMap<SocketAddrV4, Contact>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    pub connections: usize,
    pub up: usize,
    pub down: usize,
}

impl Report {
    /// The detectors that fired, each once, in order.
    pub fn fired(&self) -> Vec<Detector> {
        let mut all: Vec<_> = self.verdicts.iter().map(|verdict| verdict.detector).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn add(&mut self, detector: Detector, what: String) {
        self.verdicts.push(Verdict { detector, what });
    }
}

/// Judges all `frames` of one interface, in the order of their coming.
pub fn judge(frames: &[Frame], allowed: &AllowList) -> Report {
    let search = Search::new(&allowed.canaries);
    let mut report = Report::default();
    let mut flows = Flows::default();
    let mut late: BTreeMap<Half, usize> = BTreeMap::new();
    for (number, frame) in frames.iter().enumerate() {
        let mut content = Content::Sealed;
        match classify(frame, allowed) {
            Err((detector, what)) => report.add(detector, format!("packet {number} {what}")),
            Ok((service, segment)) => {
                content = service.content;
                let (_, port, way) = segment.half;
                let contact = report.contacts.entry(service.at).or_default();
                match way {
                    Way::Up => contact.up += segment.payload.len(),
                    Way::Down => contact.down += segment.payload.len(),
                }
                contact.connections += usize::from(segment.syn && way == Way::Up);
                if !service.when.includes(frame.at) {
                    let said = late.entry(segment.half).or_default();
                    *said += segment.payload.len();
                    if segment.syn || *said > FAREWELL {
                        let what = format!("packet {number} is with {} at a wrong time", service.at);
                        report.add(Detector::Flow, what);
                    }
                }
                if let Err(what) = flows.take(&segment) {
                    let what = format!("packet {number} (port {port} with {}) {what}", service.at);
                    report.add(Detector::Unreadable, what);
                }
            }
        }
        if content == Content::Sealed {
            // Headers and padding too.
            for what in search.hits(&frame.bytes) {
                report.add(Detector::Clear, format!("packet {number} shows {what}"));
            }
        }
    }
    for ((at, port, way), stretches, complaints) in flows.streams() {
        let shown = format!("port {port} with {at}, {way:?}");
        for what in complaints {
            report.add(Detector::Unreadable, format!("{shown}: {what}"));
        }
        let sealed = allowed.services.iter().any(|known| known.at == at && known.content == Content::Sealed);
        for stretch in stretches.iter().filter(|_| sealed) {
            for what in search.hits(stretch) {
                report.add(Detector::Clear, format!("{shown}: shows {what}"));
            }
        }
    }
    report
}

impl When {
    fn includes(&self, at: Duration) -> bool {
        match self {
            Self::Always => true,
            Self::During(times) => times.iter().any(|time| time.contains(&at)),
        }
    }
}

/// The allowed segment that `frame` is, or why it is none.
fn classify<'a>(
    frame: &'a Frame,
    allowed: &'a AllowList,
) -> Result<(&'a Service, Segment<'a>), (Detector, String)> {
    if frame.length != frame.bytes.len() {
        return Err((Detector::Unreadable, "was not captured whole".into()));
    }
    let packet = SlicedPacket::from_ethernet(&frame.bytes)
        .map_err(|error| (Detector::Unreadable, format!("cannot be read: {error}")))?;
    if !packet.link_exts.is_empty() {
        return Err((Detector::Link, "is tagged".into()));
    }
    let ip = match packet.net {
        Some(NetSlice::Ipv4(ip)) => ip,
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (from, to) = (header.source_addr(), header.destination_addr());
            return Err((Detector::Ipv6, format!("is IPv6, {from} to {to}")));
        }
        Some(NetSlice::Arp(_)) => return Err((Detector::Link, "is ARP".into())),
        None => return Err((Detector::Link, "is not IP".into())),
    };
    let header = ip.header();
    let (from, to) = (header.source_addr(), header.destination_addr());
    if ip.is_payload_fragmented() {
        return Err((Detector::Unreadable, format!("is a fragment, {from} to {to}")));
    }
    if frame.bytes.len() != ETHERNET + usize::from(header.total_len()) {
        return Err((Detector::Unreadable, format!("is longer than it says, {from} to {to}")));
    }
    let tcp = match packet.transport {
        Some(TransportSlice::Tcp(tcp)) if ip.payload_ip_number() == IpNumber::TCP => tcp,
        Some(TransportSlice::Udp(udp)) => {
            let asked = allowed.names.iter().find(|name| names(udp.payload(), name));
            return Err(match asked {
                Some(name) => (Detector::Dns, format!("is UDP and names {name}, {from} to {to}")),
                None => (Detector::Udp, format!("is UDP, {from} to {to}:{}", udp.destination_port())),
            });
        }
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => {
            return Err((Detector::Icmp, format!("is ICMP, {from} to {to}")));
        }
        Some(TransportSlice::Tcp(_)) | None => {
            let protocol = ip.payload_ip_number();
            return Err((Detector::Link, format!("is of protocol {protocol:?}, {from} to {to}")));
        }
    };
    let source = SocketAddrV4::new(from, tcp.source_port());
    let destination = SocketAddrV4::new(to, tcp.destination_port());
    let known = |address| allowed.services.iter().find(|service| service.at == address);
    let (service, port, way) = match (known(destination), known(source)) {
        (Some(service), _) if from == allowed.client => (service, source.port(), Way::Up),
        (_, Some(service)) if to == allowed.client => (service, destination.port(), Way::Down),
        _ => return Err((Detector::Flow, format!("is TCP, {source} to {destination}"))),
    };
    if way == Way::Down && tcp.syn() && !tcp.ack() {
        return Err((Detector::Flow, format!("begins a connection from outside, {source} to {destination}")));
    }
    let half = (service.at, port, way);
    let segment = Segment { half, sequence: tcp.sequence_number(), syn: tcp.syn(), payload: tcp.payload() };
    Ok((service, segment))
}

/// Whether a payload names `name`, as DNS writes it or as people do, in whatever case.
fn names(payload: &[u8], name: &str) -> bool {
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        labels.extend_from_slice(label.to_ascii_lowercase().as_bytes());
    }
    let payload = payload.to_ascii_lowercase();
    contains(&payload, &labels) || contains(&payload, name.to_ascii_lowercase().as_bytes())
}

#[cfg(test)]
mod tests;
