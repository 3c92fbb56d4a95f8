//! Keys and identities of the relays, made by tor's own programs.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// By what a relay is known.
pub(super) struct Identity {
    /// Hexadecimal.
    pub(super) rsa: String,
    /// Base64.
    pub(super) ed25519: String,
    /// Of an authority's votes; hexadecimal.
    pub(super) v3: Option<String>,
}

/// The directory of a node.
pub(super) fn directory(room: &Path, index: usize) -> PathBuf {
    room.join(format!("node{index}"))
}

/// One identity for each address; the first `authorities` get keys to vote with.
pub(super) fn make(room: &Path, addresses: &[Ipv4Addr], authorities: usize, dir_port: u16) -> Vec<Identity> {
    let empty = room.join("empty");
    std::fs::write(&empty, "").unwrap();
    thread::scope(|scope| {
        let makers: Vec<_> = addresses
            .iter()
            .enumerate()
            .map(|(at, address)| {
                let (home, empty) = (directory(room, at), &empty);
                scope.spawn(move || {
                    private(&home.join("keys"));
                    let v3 = (at < authorities).then(|| certify(&home, *address, dir_port));
                    identify(&home, empty, v3)
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    })
}

/// A directory that only its owner may enter, which tor insists on.
pub(super) fn private(directory: &Path) {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).unwrap();
}

/// Makes an authority's keys and certificate.
fn certify(home: &Path, address: Ipv4Addr, dir_port: u16) -> String {
    let file = |name: &str| home.join("keys").join(name);
    let mut child = Command::new("tor-gencert")
        .args(["--create-identity-key", "--passphrase-fd", "0", "-m", "12"])
        .args(["-a", &format!("{address}:{dir_port}"), "-i"])
        .arg(file("authority_identity_key"))
        .arg("-s")
        .arg(file("authority_signing_key"))
        .arg("-c")
        .arg(file("authority_certificate"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // An empty passphrase.
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success(), "tor-gencert failed");
    let certificate = std::fs::read_to_string(file("authority_certificate")).unwrap();
    word_after(&certificate, "fingerprint").expect("a fingerprint in the certificate")
}

fn identify(home: &Path, empty: &Path, v3: Option<String>) -> Identity {
    // A network of nobody, so that tor does not think of the public one.
    let nobody = "nobody 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff";
    let output = Command::new("tor")
        .args(["--quiet", "--list-fingerprint", "--orport", "1", "--dirauthority", nobody, "-f"])
        .arg(empty)
        .arg("--defaults-torrc")
        .arg(empty)
        .arg("--datadirectory")
        .arg(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // "Unnamed ABCD EF01 …": ten groups of four.
    let printed = String::from_utf8(output.stdout).unwrap();
    let groups: Vec<_> = printed.split_whitespace().collect();
    let rsa = groups[groups.len() - 10..].concat();
    let ed25519 = std::fs::read_to_string(home.join("fingerprint-ed25519")).unwrap();
    let ed25519 = ed25519.split_whitespace().nth(1).expect("an Ed25519 identity").to_owned();
    Identity { rsa, ed25519, v3 }
}

/// The word after `key` on the line that begins with it.
fn word_after(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next().map(str::to_owned))
}
