//! Who listens on an address that was wanted, as far as the system tells.
//!
//! | system | tells |
//! | --- | --- |
//! | Linux | the program, if it is of the same user or the user is root; else whose it is: proc's table of sockets has the user, and only the owner's processes can be searched for the socket |
//! | others | nothing without further programs; the message says which |
//!
//! Deliberately absent: another address in its place. A client would speak to whoever has the one that it was told.

use std::fmt;
use std::net::SocketAddr;

/// Who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A program that may be looked at.
    Program {
        /// Its name, as the system shows it.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// A program that may not.
    User {
        /// The user's number.
        uid: u32,
        /// The user's name, if there is one.
        name: Option<String>,
    },
    /// The system does not tell, or nobody any more.
    Unknown {
        /// Whose port it is.
        port: u16,
    },
}

impl Holder {
    /// Whoever listens on `address`, or in its way.
    pub(super) fn of(address: SocketAddr) -> Self {
        find(address).unwrap_or(Self::Unknown { port: address.port() })
    }

    /// Whether it is systemd, which listens in a service's stead.
    pub(super) fn is_service_manager(&self) -> bool {
        matches!(self, Self::Program { name, .. } if name == "systemd")
    }

    /// Whether it is a program like this one.
    pub(super) fn is_llmtor(&self) -> bool {
        matches!(self, Self::Program { name, .. } if name == env!("CARGO_PKG_NAME"))
    }
}

/// Follows `is in use`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, pid } => write!(f, " by {name} (pid {pid})"),
            Self::User { uid, name: Some(name) } => write!(f, " by a program of the user {name} (uid {uid})"),
            Self::User { uid, name: None } => write!(f, " by a program of another user (uid {uid})"),
            Self::Unknown { port } if cfg!(target_os = "linux") => {
                write!(f, "; `ss -ltnp sport = :{port}` shows by whom")
            }
            Self::Unknown { port } if cfg!(windows) => {
                write!(f, "; `netstat -ano | findstr :{port}` shows by whom")
            }
            Self::Unknown { port } => write!(f, "; `lsof -nP -iTCP:{port} -sTCP:LISTEN` shows by whom"),
        }
    }
}

/// Whose a connection is.
#[cfg(all(target_os = "linux", feature = "desktop"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// That user's.
    User(u32),
    /// Nobody's any more, as far as the system's table goes: its own end was given up, or there is no such line.
    Nobody,
    /// The system keeps its table to itself.
    Untold,
}

/// How often the table is read for a line that must be there: it changes while it is read, and may skip one.
#[cfg(all(target_os = "linux", feature = "desktop"))]
const LOOKS: usize = 3;

/// Whose connections they are, each from its first address to its second, both on this machine. Decides who gets in, so
/// whatever is not known for certain is [`Owner::Nobody`]; only a system without the table is [`Owner::Untold`].
///
/// The table is read as often for many as for one: it is as long as everybody on this machine makes it.
#[cfg(all(target_os = "linux", feature = "desktop"))]
pub(super) fn owners_of_connections(wanted: &[(SocketAddr, SocketAddr)]) -> Vec<Owner> {
    let keys: Vec<proc::Key> = wanted.iter().map(|(from, to)| proc::key(*from, *to)).collect();
    let mut owners = vec![None; keys.len()];
    // An IPv4 address may also be dialled with a socket of IPv6, which is in the other table.
    let tables = [("/proc/net/tcp", true), ("/proc/net/tcp6", false)];
    for (table, has_ipv4) in std::iter::repeat_n(tables, LOOKS).flatten() {
        let is_own = |at: usize| wanted[at].0.is_ipv4() == has_ipv4;
        let open: Vec<usize> = (0..keys.len())
            .filter(|at| owners[*at].is_none() && (is_own(*at) || wanted[*at].0.is_ipv4()))
            .collect();
        if open.is_empty() {
            continue;
        }
        let found = std::fs::read_to_string(table)
            .map(|text| proc::owners(&text, &open.iter().map(|at| keys[*at]).collect()));
        for at in open {
            owners[at] = match &found {
                Ok(found) => found.get(&keys[at]).copied(),
                Err(_) if !is_own(at) => None,
                Err(error) => Some(unreadable(error)),
            };
        }
    }
    owners.into_iter().map(|owner| owner.unwrap_or(Owner::Nobody)).collect()
}

#[cfg(all(target_os = "linux", feature = "desktop"))]
fn unreadable(error: &std::io::Error) -> Owner {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    match error.kind() {
        NotFound | PermissionDenied => Owner::Untold,
        // Such as too many open files, which others can bring about.
        _ => Owner::Nobody,
    }
}

#[cfg(not(target_os = "linux"))]
fn find(_address: SocketAddr) -> Option<Holder> {
    None
}

#[cfg(target_os = "linux")]
fn find(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok());
    let listeners: Vec<Listener> = tables.flat_map(|table| proc::listeners(&table)).collect();
    let exact = listeners.iter().find(|listener| listener.address == address);
    let in_the_way = || {
        listeners.iter().find(|listener| {
            listener.address.ip().is_unspecified() && listener.address.port() == address.port()
        })
    };
    let Listener { uid, inode, .. } = exact.or_else(in_the_way)?;
    proc::program(*inode).or_else(|| Some(Holder::User { uid: *uid, name: proc::user(*uid) }))
}

/// A socket in state LISTEN.
#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

#[cfg(target_os = "linux")]
mod proc {
    #[cfg(feature = "desktop")]
    use std::collections::{HashMap, HashSet};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    #[cfg(feature = "desktop")]
    use super::Owner;
    use super::{Holder, Listener};

    /// Out of the text of `/proc/net/tcp` or `tcp6`.
    pub(super) fn listeners(table: &str) -> Vec<Listener> {
        table.lines().skip(1).filter_map(listener).collect()
    }

    /// A connection as it is looked for: an IPv4 address is the same in both tables.
    #[cfg(feature = "desktop")]
    pub(super) type Key = [(IpAddr, u16); 2];

    #[cfg(feature = "desktop")]
    pub(super) fn key(from: SocketAddr, to: SocketAddr) -> Key {
        [from, to].map(|address| (address.ip().to_canonical(), address.port()))
    }

    /// Whose the `wanted` connections are, whatever state they are in: either side may have said all that it had to say.
    /// A line without an inode belongs to no process any more, and the user in it says nothing (it is 0).
    #[cfg(feature = "desktop")]
    pub(super) fn owners(table: &str, wanted: &HashSet<Key>) -> HashMap<Key, Owner> {
        let mut owners = HashMap::new();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, from, to, _, _, _, _, user, _, inode, ..] = fields.as_slice() else { continue };
            let (Some(from), Some(to)) = (address(from), address(to)) else { continue };
            let seen = key(from, to);
            if wanted.contains(&seen) {
                let owner = match user.parse() {
                    Ok(user) if *inode != "0" => Owner::User(user),
                    _ => Owner::Nobody,
                };
                // The first line counts.
                owners.entry(seen).or_insert(owner);
            }
        }
        owners
    }

    fn address(text: &str) -> Option<SocketAddr> {
        let (ip, port) = text.split_once(':')?;
        Some(SocketAddr::new(ip_address(ip)?, u16::from_str_radix(port, 16).ok()?))
    }

    fn listener(line: &str) -> Option<Listener> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = address(fields.get(1)?)?;
        let (uid, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        (*fields.get(3)? == "0A").then_some(Listener { address, uid, inode })
    }

    /// Words of 32 bits, each in the machine's own order of bytes.
    fn ip_address(hex: &str) -> Option<IpAddr> {
        let word = |index: usize| {
            let digits = hex.get(8 * index..8 * index + 8)?;
            u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
        };
        match hex.len() {
            8 => Some(Ipv4Addr::from(word(0)?).into()),
            32 => {
                let words = [word(0)?, word(1)?, word(2)?, word(3)?];
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.as_flattened()).ok()?).into())
            }
            _ => None,
        }
    }

    /// The process that has the socket. Other users' cannot be read; they are passed over.
    pub(super) fn program(inode: u64) -> Option<Holder> {
        let socket = format!("socket:[{inode}]");
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let pid = pids.find(|pid| {
            std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().any(|fd| {
                std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
            })
        })?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Holder::Program { name: name.trim().to_owned(), pid })
    }

    /// The name of `uid` in the system's own list.
    pub(super) fn user(uid: u32) -> Option<String> {
        let list = std::fs::read_to_string("/etc/passwd").ok()?;
        list.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::*;

        const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:2253 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
";
        const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000001000000:2253 00000000000000000000000000000000:0000 0A 0:0 00:0 0  1000        0 4714 1
";

        #[cfg(target_endian = "little")]
        #[test]
        fn the_system_s_tables_are_read() {
            let listener =
                |address: &str, uid, inode| Listener { address: address.parse().unwrap(), uid, inode };
            let expected = [listener("127.0.0.1:8787", 1000, 4711), listener("0.0.0.0:22", 0, 4713)];
            assert_eq!(listeners(TCP), expected);
            assert_eq!(listeners(TCP6), [listener("[::1]:8787", 1000, 4714)]);
        }

        /// From 127.0.0.1:40000, by user 1000, to another port than 8787 first; then a half-closed one, one that is given
        /// up (which the system shows as root's), and one of a socket of IPv6.
        #[cfg(all(target_endian = "little", feature = "desktop"))]
        #[test]
        fn a_connection_is_found_by_both_ends_in_any_state_and_one_that_is_given_up_is_nobody_s() {
            let line = |from: &str, to: &str, state: &str, uid: u32, inode: u32| {
                format!(
                    "   1: {from} {to} {state} 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} 1 0 20 4\n"
                )
            };
            let (from, to) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:8787".parse().unwrap());
            let (source, target) = ("0100007F:9C40", "0100007F:2253");
            let elsewhere = line(source, "0100007F:2254", "01", 1000, 1);
            let wanted = key(from, to);
            let owner = |lines: &str| {
                let table = format!("heading\n{elsewhere}{lines}");
                owners(&table, &HashSet::from([wanted])).get(&wanted).copied()
            };
            assert_eq!(owner(""), None);
            // The other end of the same connection is ours.
            assert_eq!(owner(&line(target, source, "01", 1000, 2)), None);
            for state in ["01", "04", "05", "08"] {
                assert_eq!(
                    owner(&line(source, target, state, 65534, 2)),
                    Some(Owner::User(65534)),
                    "{state}"
                );
                assert_eq!(owner(&line(source, target, state, 0, 0)), Some(Owner::Nobody), "{state}");
            }
            let mapped = |address: &str| format!("0000000000000000FFFF0000{address}");
            let by_ipv6 = line(&mapped(source), &mapped(target), "01", 7, 2);
            assert_eq!(owner(&by_ipv6), Some(Owner::User(7)));
        }

        proptest! {
            #[test]
            fn no_table_breaks_the_reader(table in "\\PC{0,200}", address in "[0-9A-F]{0,33}:[0-9A-F]{0,5}") {
                listeners(&table);
                listeners(&format!("\n 0: {address} 0 0A 0 0 0 1 0 2"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = Holder::of(listener.local_addr().unwrap());
        assert!(matches!(holder, Holder::Program { pid, .. } if pid == std::process::id()), "{holder}");
    }

    #[test]
    fn whoever_it_is_is_named_or_found_out_how() {
        let user = |name: Option<&str>| Holder::User { uid: 7, name: name.map(str::to_owned) };
        assert_eq!(user(Some("eve")).to_string(), " by a program of the user eve (uid 7)");
        assert_eq!(user(None).to_string(), " by a program of another user (uid 7)");
        assert!(Holder::Unknown { port: 8787 }.to_string().contains("8787"));
        assert!(Holder::Program { name: "llmtor".into(), pid: 1 }.is_llmtor());
    }
}
