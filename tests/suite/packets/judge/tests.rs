//! Each detector, on packets made by hand.

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder, PacketBuilderStep, VlanId,
};
use etherparse::{Ethernet2Header, Ipv4Header};
use proptest::prelude::*;

use super::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 11), 5000);
const IDENTITY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 3), 443);
const BACKEND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 4), 443);
const PROMPT: &str = "canary-of-a-prompt-4711";
const NAME: &str = "backend.test";

fn allowed() -> AllowList {
    let always = |at| Service { at, when: When::Always, content: Content::Sealed };
    let shop_hours = When::During(vec![Duration::from_secs(10)..=Duration::from_secs(20)]);
    AllowList {
        client: CLIENT,
        services: vec![always(RELAY), Service { at: IDENTITY, when: shop_hours, content: Content::Sealed }],
        names: vec![NAME.to_owned()],
        canaries: vec![Canary::new("the prompt", PROMPT)],
    }
}

fn frame(at: u64, bytes: Vec<u8>) -> Frame {
    Frame { at: Duration::from_secs(at), length: bytes.len(), bytes }
}

fn ethernet() -> PacketBuilderStep<Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn ip(from: Ipv4Addr, to: Ipv4Addr) -> PacketBuilderStep<etherparse::IpHeaders> {
    ethernet().ipv4(from.octets(), to.octets(), 64)
}

#[derive(Clone, Copy, PartialEq)]
enum Flag {
    Syn,
    SynAck,
    Ack,
}

fn tcp(from: SocketAddrV4, to: SocketAddrV4, sequence: u32, flag: Flag, payload: &[u8]) -> Vec<u8> {
    let step = ip(*from.ip(), *to.ip()).tcp(from.port(), to.port(), sequence, 1000);
    let step = if flag == Flag::Ack { step } else { step.syn() };
    let step = if flag == Flag::Syn { step } else { step.ack(1) };
    let mut bytes = Vec::new();
    step.write(&mut bytes, payload).unwrap();
    bytes
}

fn udp(to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(CLIENT, *to.ip()).udp(40000, to.port()).write(&mut bytes, payload).unwrap();
    bytes
}

/// A conversation with `service` begun at second `at`: `up` in pieces of `piece` bytes, and an answer.
fn talk(service: SocketAddrV4, at: u64, up: &[u8], piece: usize) -> Vec<Frame> {
    let client = SocketAddrV4::new(CLIENT, 40001);
    let mut frames = vec![
        frame(at, tcp(client, service, 99, Flag::Syn, b"")),
        frame(at, tcp(service, client, 499, Flag::SynAck, b"")),
    ];
    let mut sequence = 100;
    for part in up.chunks(piece) {
        frames.push(frame(at, tcp(client, service, sequence, Flag::Ack, part)));
        sequence += u32::try_from(part.len()).unwrap();
    }
    frames.push(frame(at, tcp(service, client, 500, Flag::Ack, b"sealed answer")));
    frames
}

fn fired(frames: &[Frame]) -> Vec<Detector> {
    judge(frames, &allowed()).fired()
}

fn one(bytes: Vec<u8>) -> Vec<Detector> {
    fired(&[frame(15, bytes)])
}

#[test]
fn what_is_allowed_passes_and_is_counted() {
    let frames = [talk(RELAY, 1, b"sealed", 3), talk(IDENTITY, 15, b"also sealed", 100)].concat();
    let report = judge(&frames, &allowed());
    assert!(report.verdicts.is_empty(), "{:?}", report.verdicts);
    assert_eq!(report.contacts[&RELAY], Contact { connections: 1, up: 6, down: 13 });
    assert_eq!(report.contacts[&IDENTITY], Contact { connections: 1, up: 11, down: 13 });
}

#[test]
fn tcp_with_anybody_else_is_a_flow_that_is_not_allowed() {
    let client = SocketAddrV4::new(CLIENT, 40001);
    let elsewhere = [BACKEND, SocketAddrV4::new(*RELAY.ip(), 5001), SocketAddrV4::new(*BACKEND.ip(), 5000)];
    for other in elsewhere {
        assert_eq!(one(tcp(client, other, 1, Flag::Syn, b"")), [Detector::Flow], "to {other}");
        assert_eq!(one(tcp(other, client, 1, Flag::SynAck, b"")), [Detector::Flow], "from {other}");
    }
    let stranger = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 9), 40001);
    assert_eq!(one(tcp(stranger, RELAY, 1, Flag::Syn, b"")), [Detector::Flow]);
    assert_eq!(one(tcp(RELAY, stranger, 1, Flag::SynAck, b"")), [Detector::Flow]);
    assert_eq!(one(tcp(RELAY, client, 1, Flag::Syn, b"")), [Detector::Flow], "nobody connects to the client");
}

#[test]
fn the_identity_plane_may_be_talked_to_in_its_time_only() {
    assert_eq!(fired(&talk(IDENTITY, 9, b"hello", 5)), [Detector::Flow]);
    assert_eq!(fired(&talk(IDENTITY, 21, b"hello", 5)), [Detector::Flow]);
    let client = SocketAddrV4::new(CLIENT, 40001);
    let mut frames = talk(IDENTITY, 15, b"hello", 5);
    frames.push(frame(99, tcp(client, IDENTITY, 105, Flag::Ack, &[0; 31])));
    assert_eq!(fired(&frames), [], "TLS may say goodbye");
    frames.push(frame(99, tcp(client, IDENTITY, 136, Flag::Ack, &[0; 34])));
    assert_eq!(fired(&frames), [Detector::Flow], "and nothing more");
}

#[test]
fn udp_is_a_leak_and_a_query_for_the_backend_is_told_from_it() {
    let resolver = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 5), 53);
    assert_eq!(one(udp(resolver, b"\x07another\x04test\x00")), [Detector::Udp]);
    assert_eq!(one(udp(RELAY, b"")), [Detector::Udp], "to a relay too");
    assert_eq!(one(udp(resolver, b"....\x07backend\x04test\x00")), [Detector::Dns]);
    assert_eq!(one(udp(resolver, b"....\x07bAcKend\x04TEST\x00")), [Detector::Dns]);
    assert_eq!(one(udp(RELAY, b"who is backend.test?")), [Detector::Dns], "on whatever port");
}

#[test]
fn icmp_is_a_leak_to_whomever() {
    for to in [*BACKEND.ip(), *RELAY.ip()] {
        let mut bytes = Vec::new();
        ip(CLIENT, to).icmpv4_echo_request(1, 1).write(&mut bytes, b"").unwrap();
        assert_eq!(one(bytes), [Detector::Icmp]);
        let mut bytes = Vec::new();
        ip(to, CLIENT).icmpv4_raw(3, 3, [0; 4]).write(&mut bytes, b"").unwrap();
        assert_eq!(one(bytes), [Detector::Icmp]);
    }
}

#[test]
fn ipv6_is_a_leak_whatever_is_in_it() {
    let step = || ethernet().ipv6([0xfd; 16], [0xfc; 16], 64);
    let mut bytes = Vec::new();
    step().tcp(40001, RELAY.port(), 1, 1000).syn().write(&mut bytes, b"").unwrap();
    assert_eq!(one(bytes), [Detector::Ipv6]);
    let mut bytes = Vec::new();
    step().udp(1, 53).write(&mut bytes, b"").unwrap();
    assert_eq!(one(bytes), [Detector::Ipv6]);
    let mut bytes = Vec::new();
    step().icmpv6_raw(143, 0, [0; 4]).write(&mut bytes, b"").unwrap();
    assert_eq!(one(bytes), [Detector::Ipv6]);
}

#[test]
fn what_is_neither_tcp_nor_udp_nor_icmp_is_a_leak() {
    let arp = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &[2; 6],
        &CLIENT.octets(),
        &[0; 6],
        &RELAY.ip().octets(),
    );
    let mut bytes = Vec::new();
    ethernet().arp(arp.unwrap()).write(&mut bytes).unwrap();
    assert_eq!(one(bytes), [Detector::Link]);

    let client = SocketAddrV4::new(CLIENT, 40001);
    let good = tcp(client, RELAY, 1, Flag::Syn, b"");
    let mut strange = good.clone();
    strange[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(one(strange), [Detector::Link], "an unknown kind of frame");
    let mut sctp = good;
    sctp[ETHERNET + 9] = 132;
    assert_eq!(one(sctp), [Detector::Link]);

    let mut bytes = Vec::new();
    ethernet()
        .single_vlan(VlanId::try_new(7).unwrap())
        .ipv4(CLIENT.octets(), RELAY.ip().octets(), 64)
        .tcp(40001, RELAY.port(), 1, 1000)
        .syn()
        .write(&mut bytes, b"")
        .unwrap();
    assert_eq!(one(bytes), [Detector::Link], "tagged");
}

#[test]
fn a_prompt_in_clear_is_found_in_both_directions_in_every_disguise_and_over_the_cuts_of_segments() {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(PROMPT);
    let hex = crate::support::canary::hex(PROMPT.as_bytes());
    for said in [PROMPT, &base64, &hex, &hex.to_uppercase()] {
        for piece in [1, 5, 1000] {
            let said = format!("before {said} after");
            assert_eq!(fired(&talk(RELAY, 1, said.as_bytes(), piece)), [Detector::Clear], "{said} {piece}");
        }
    }
    let client = SocketAddrV4::new(CLIENT, 40001);
    let mut frames = talk(RELAY, 1, b"", 1);
    frames.push(frame(1, tcp(RELAY, client, 513, Flag::Ack, PROMPT.as_bytes())));
    assert_eq!(fired(&frames), [Detector::Clear]);
    // Also where it is not the only thing that is wrong.
    assert_eq!(one(udp(RELAY, PROMPT.as_bytes())), [Detector::Udp, Detector::Clear]);
}

#[test]
fn on_a_service_that_may_be_told_anything_a_prompt_is_no_leak() {
    let mut allowed = allowed();
    allowed.services[0].content = Content::Open;
    let report = judge(&talk(RELAY, 1, PROMPT.as_bytes(), 5), &allowed);
    assert!(report.verdicts.is_empty(), "{:?}", report.verdicts);
}

#[test]
fn what_cannot_be_read_whole_is_reported() {
    let client = SocketAddrV4::new(CLIENT, 40001);
    let good = tcp(client, RELAY, 1, Flag::Syn, b"");
    let mut cut = frame(1, good.clone());
    cut.length += 1;
    assert_eq!(fired(&[cut]), [Detector::Unreadable]);
    let padded = [good.clone(), vec![0; 4]].concat();
    assert_eq!(one(padded), [Detector::Unreadable]);
    let mut fragment =
        Ipv4Header::new(20, 64, etherparse::ip_number::TCP, CLIENT.octets(), RELAY.ip().octets()).unwrap();
    fragment.more_fragments = true;
    let bytes = [&good[..ETHERNET], &fragment.to_bytes(), &good[ETHERNET + 20..]].concat();
    assert_eq!(one(bytes), [Detector::Unreadable]);
    // A stream with a hole, and one whose beginning is missing.
    let mut frames = talk(RELAY, 1, b"0123456789", 2);
    frames.remove(3);
    assert_eq!(fired(&frames), [Detector::Unreadable]);
    assert_eq!(fired(&talk(RELAY, 1, b"0123", 2)[2..]), [Detector::Unreadable]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_skipped(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!one(bytes).is_empty());
    }

    #[test]
    fn arbitrary_bytes_behind_good_headers_never_panic_and_are_never_skipped(
        protocol in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        // Nobody but the client and the relay, and yet: only a whole segment between their ports is allowed.
        let length = u16::try_from(bytes.len()).unwrap();
        let header = Ipv4Header::new(length, 64, etherparse::IpNumber(protocol), CLIENT.octets(), RELAY.ip().octets());
        let ethernet: &[u8] = &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        let frame = [ethernet, &header.unwrap().to_bytes(), &bytes].concat();
        let right_port = bytes.get(2..4) == Some(&RELAY.port().to_be_bytes());
        prop_assume!(!right_port);
        prop_assert!(!one(frame).is_empty());
    }

    #[test]
    fn a_packet_that_the_parser_refuses_is_unreadable(
        kind in prop::sample::select(vec![[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0x81, 0x00]]),
        mut bytes in prop::collection::vec(any::<u8>(), 14..200),
    ) {
        bytes[12..14].copy_from_slice(&kind);
        prop_assume!(SlicedPacket::from_ethernet(&bytes).is_err());
        prop_assert_eq!(one(bytes), [Detector::Unreadable]);
    }

    #[test]
    fn a_good_packet_that_is_cut_anywhere_is_unreadable(cut in 0usize..61) {
        let client = SocketAddrV4::new(CLIENT, 40001);
        let good = tcp(client, RELAY, 1, Flag::Syn, b"payload");
        prop_assert_eq!(good.len(), 61);
        prop_assert_eq!(one(good[..cut].to_vec()), [Detector::Unreadable]);
    }
}
