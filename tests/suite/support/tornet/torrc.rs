//! The settings of the private network's nodes.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

use super::keys::Identity;

/// Seconds between the first votes; four of them are spent on voting.
pub(super) const FIRST_VOTES: u64 = 10;
/// Seconds between votes after the first consensus: long, so that no vote is taken while a test has relays down.
const VOTES: u64 = 28_800;

/// Seconds after their start at which relays first ask for a consensus. Earlier there is none, and they would ask again at
/// ever longer intervals.
const FIRST_CONSENSUS: u64 = 10;

/// What every node, client or relay, has.
pub(super) fn common(
    addresses: &[Ipv4Addr],
    authorities: &[Identity],
    or_port: u16,
    dir_port: u16,
) -> String {
    let mut text = format!(
        "TestingTorNetwork 1\n\
         RunAsDaemon 0\n\
         __OwningControllerProcess {owner}\n\
         ShutdownWaitLength 0\n\
         AvoidDiskWrites 1\n\
         GeoIPFile /dev/null\n\
         GeoIPv6File /dev/null\n\
         PathsNeededToBuildCircuits 0.67\n\
         EnforceDistinctSubnets 0\n\
         ConfluxEnabled 0\n\
         Schedulers Vanilla\n\
         ClientRejectInternalAddresses 0\n\
         ClientDNSRejectInternalAddresses 0\n",
        owner = std::process::id(),
    );
    for (at, (identity, address)) in authorities.iter().zip(addresses).enumerate() {
        let v3 = identity.v3.as_ref().expect("an authority's identity");
        let _ = writeln!(
            text,
            "DirAuthority node{at} orport={or_port} no-v2 v3ident={v3} {address}:{dir_port} {}",
            identity.rsa
        );
    }
    text
}

/// What every relay has.
pub(super) fn relay(address: Ipv4Addr, or_port: u16, dir_port: u16) -> String {
    format!(
        "SocksPort 0\n\
         Address {address}\n\
         AddressDisableIPv6 1\n\
         ORPort {address}:{or_port} IPv4Only\n\
         DirPort {address}:{dir_port} IPv4Only\n\
         AssumeReachable 1\n\
         TestingServerConsensusDownloadInitialDelay {FIRST_CONSENSUS}\n"
    )
}

/// An authority, which is no exit. Onion services need `hsdir_interval` to be 24 voting intervals, in minutes:
/// otherwise clients look for a descriptor in another period than services publish it in.
///
/// Votes are taken at `second` of each interval.
pub(super) fn authority(second: u64) -> String {
    format!(
        "AuthoritativeDirectory 1\n\
         V3AuthoritativeDirectory 1\n\
         ContactInfo nobody@network.test\n\
         TestingV3AuthInitialVotingInterval {FIRST_VOTES}\n\
         TestingV3AuthVotingStartOffset {second}\n\
         TestingV3AuthInitialVoteDelay 2\n\
         TestingV3AuthInitialDistDelay 2\n\
         V3AuthVotingInterval {VOTES}\n\
         V3AuthVoteDelay 2\n\
         V3AuthDistDelay 2\n\
         V3AuthNIntervalsValid 20\n\
         TestingDirAuthVoteExit *\n\
         TestingDirAuthVoteGuard *\n\
         TestingDirAuthVoteHSDir *\n\
         TestingMinExitFlagThreshold 0\n\
         TestingAuthDirTimeToLearnReachability 0\n\
         ConsensusParams hsdir_interval={} cbtdisabled=1 cfx_enabled=0\n\
         ExitPolicy reject *:*\n",
        24 * VOTES / 60
    )
}

/// An exit to everywhere, this machine included, that dials from its own address (except to loopback, where tor lets the
/// system choose).
pub(super) fn exit(address: Ipv4Addr, resolver: &Path) -> String {
    format!(
        "ExitRelay 1\n\
         ExitPolicyRejectPrivate 0\n\
         ExitPolicyRejectLocalInterfaces 0\n\
         ExitPolicy accept *:*\n\
         IPv6Exit 0\n\
         OutboundBindAddressExit {address}\n\
         ServerDNSResolvConfFile {}\n\
         ServerDNSDetectHijacking 0\n\
         ServerDNSTestAddresses\n\
         ServerDNSAllowBrokenConfig 1\n",
        resolver.display()
    )
}
