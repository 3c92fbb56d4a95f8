//! A bridge of the private network, behind obfs4.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;

use super::node::Node;
use super::{READY_WITHIN, TorNetwork, poll, read};

/// The program that obfuscates, at either end.
pub const OBFS4: &str = "/usr/bin/obfs4proxy";

/// Whether the program is here; says so where it is not.
pub fn is_installed() -> bool {
    let here = Path::new(OBFS4).exists();
    if !here {
        assert!(std::env::var_os("CI").is_none(), "bridges cannot be tested without {OBFS4}");
        eprintln!("SKIPPED: bridges are not tested without {OBFS4} (Debian: obfs4proxy)");
    }
    here
}

impl TorNetwork {
    /// Starts a bridge that no directory lists; its bridge line. On return it has a circuit of its own.
    pub fn bridge(&self) -> String {
        let home = self.room.join("bridge");
        let ip = *self.client_address.ip();
        let [own, obfuscated] = free(ip);
        let torrc = format!(
            "{}SocksPort 0\n\
             AssumeReachable 1\n\
             BridgeRelay 1\n\
             Address {ip}\n\
             AddressDisableIPv6 1\n\
             ORPort {own} IPv4Only\n\
             ExtORPort auto\n\
             PublishServerDescriptor 0\n\
             ServerTransportPlugin obfs4 exec {OBFS4}\n\
             ServerTransportListenAddr obfs4 {obfuscated}\n\
             ExitPolicy reject *:*\n",
            self.common
        );
        let node = Node::start(home.clone(), &torrc, &self.prefix, &self.keeper);
        let line = home.join("pt_state/obfs4_bridgeline.txt");
        let up = poll(READY_WITHIN, || node.is_bootstrapped() && read(&line).contains("cert="));
        assert!(up, "no bridge: {}", node.log());
        self.guests.lock().unwrap().push(node);
        let fingerprint = read(&home.join("fingerprint"));
        let fingerprint = fingerprint.split_whitespace().last().expect("a fingerprint");
        let line = read(&line);
        let (_, certificate) = line.rsplit_once("cert=").expect("a certificate");
        let certificate = certificate.split_whitespace().next().expect("a certificate");
        format!("obfs4 {obfuscated} {fingerprint} cert={certificate} iat-mode=0")
    }
}

/// Two that nobody listens at.
fn free(ip: Ipv4Addr) -> [SocketAddrV4; 2] {
    // Both are held until both are known.
    let held = [(); 2].map(|()| TcpListener::bind((ip, 0)).unwrap());
    held.each_ref().map(|listener| SocketAddrV4::new(ip, listener.local_addr().unwrap().port()))
}
