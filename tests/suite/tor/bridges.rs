//! A bridge behind a pluggable transport: a real one, and the program that Arti starts for it.

use std::path::Path;

use super::assert_answers;
use crate::support::tor_world::TorWorld;
use crate::support::tornet::{self, bridge};

#[test]
fn a_call_goes_by_an_obfuscated_bridge_and_no_relay_is_dialled_directly() {
    let Some(network) = tornet::using() else { return };
    if !bridge::is_installed() {
        return;
    }
    let mut world = TorWorld::new(&network, 1);
    let line = network.bridge();
    let settings = format!(
        "{}\n[bridges]\nbridges = [\"{line}\"]\n\
         [[bridges.transports]]\nprotocols = [\"obfs4\"]\npath = \"{}\"\n",
        network.arti_toml(),
        bridge::OBFS4
    );
    let file = world.write("bridges.toml", &settings);
    world.set(format!("tor.arti_config={file}"));
    let daemon = world.serve(&[]);
    assert_answers(&daemon.ask("By the bridge?"), "By the bridge?");

    let pid = &world.report(&["status"])["daemon"]["pid"];
    let ports = remote_ports(&format!("/proc/{pid}"));
    assert!(!ports.is_empty(), "the transport's program is dialled");
    assert!(!ports.contains(&network.or_port()), "a relay was dialled directly: {ports:?}");
    world.books().assert_balanced(1);
}

/// The far ports of a process's established connections over IPv4.
fn remote_ports(process: &str) -> Vec<u16> {
    let sockets: Vec<String> = std::fs::read_dir(Path::new(process).join("fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(Path::new(process).join("net/tcp")).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // State 01 is ESTABLISHED; the tenth field is the inode.
    rows.filter(|row| row[3] == "01" && sockets.iter().any(|inode| inode == row[9]))
        .map(|row| u16::from_str_radix(row[2].rsplit(':').next().unwrap(), 16).unwrap())
        .collect()
}
