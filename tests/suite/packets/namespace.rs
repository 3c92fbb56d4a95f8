//! A network namespace for a client whose only way out is a pair of virtual interfaces to this machine.
//!
//! The world at the other end (relays, fronts, a resolver) is the test's own namespace: it has the addresses of a subnet,
//! and everything that the client sends to whatever address comes there and goes no further. All is reachable that
//! the client could want to reach by mistake, so that a leak is seen and does not merely fail.
//!
//! The interfaces are silent by themselves, so that nothing has to be allowed for the kernel: neighbours are known, so
//! there is no ARP and no discovery; no link-local addresses, router solicitations, or multicast.
//!
//! Needs root, `ip` (Debian: `iproute2`) and the permission to make namespaces. What a process that died left behind is
//! removed by the next one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The client's interface.
pub const WAY_OUT: &str = "way-out";
/// Where the world answers questions for names.
pub const RESOLVER: u8 = 5;
/// The client's own; those below and above are the world's.
const CLIENT: u8 = 2;
const LAST: u8 = 30;
const MARK: &str = "llmtor-";
const MAC: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// Removed, with the processes in it, when dropped.
pub struct Namespace {
    name: String,
    link: String,
    subnet: u8,
}

impl Namespace {
    /// `None`, and a line that says why, where there cannot be one; in CI that is a failure.
    pub fn make() -> Option<Self> {
        match Self::try_make() {
            Ok(namespace) => Some(namespace),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "packets cannot be captured: {why}");
                eprintln!("SKIPPED: what leaves this machine is not captured: {why}");
                None
            }
        }
    }

    fn try_make() -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let missing: Vec<_> = ["ip", "tcpdump", "curl", "tor", "tor-gencert"]
            .into_iter()
            .filter(|name| !std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
            .collect();
        if !missing.is_empty() {
            return Err(format!("{missing:?} are missing (Debian: iproute2, tcpdump, curl, tor)"));
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
            return Err("only root may make a network namespace".to_owned());
        }
        remove_stale();
        let pid = std::process::id();
        let first = u8::try_from(pid % 256).unwrap_or_default();
        for subnet in (0..=u8::MAX).map(|step| first.wrapping_add(step)) {
            let (name, link) = (format!("{MARK}{pid}-{subnet}"), format!("{MARK}{subnet}"));
            if claim(&name, &link)? == Claim::Ours {
                // From here on its removal is ours.
                let namespace = Self { name, link, subnet };
                return namespace.furnish().map(|()| namespace);
            }
        }
        Err("all subnets are taken".to_owned())
    }

    fn furnish(&self) -> Result<(), String> {
        let Self { name, link, .. } = self;
        for (file, value) in [
            ("ipv6/conf/LINK/addr_gen_mode", "1"),
            ("ipv6/conf/LINK/accept_ra", "0"),
            ("ipv6/conf/LINK/router_solicitations", "0"),
            ("ipv6/conf/LINK/dad_transmits", "0"),
            // What the client sends elsewhere ends here, even on a machine that forwards.
            ("ipv6/conf/LINK/forwarding", "0"),
            ("ipv4/conf/LINK/forwarding", "0"),
        ] {
            let path = format!("/proc/sys/net/{}", file.replace("LINK", link));
            std::fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
        }
        let (client, client6) = (self.client(), self.v6(CLIENT));
        let (gate, gate6) = (self.world(1), self.v6(1));
        let mut here = format!("link set {link} multicast off arp off\nlink set {link} up\n");
        for host in (1..=LAST).filter(|host| *host != CLIENT) {
            let (v4, v6) = (self.world(host), self.v6(host));
            let _ = write!(here, "addr add {v4}/24 dev {link}\naddr add {v6}/64 dev {link} nodad\n");
        }
        let _ = write!(
            here,
            "neigh replace {client} lladdr {mac} dev {link} nud permanent\n\
             neigh replace {client6} lladdr {mac} dev {link} nud permanent\n",
            mac = MAC[1]
        );
        ip(&["-batch", "-"], &here)?;
        let there = format!(
            "link set lo up\nlink set {WAY_OUT} multicast off arp off\nlink set {WAY_OUT} up\n\
             addr add {client}/32 dev {WAY_OUT}\naddr add {client6}/128 dev {WAY_OUT} nodad\n\
             neigh replace {gate} lladdr {mac} dev {WAY_OUT} nud permanent\n\
             neigh replace {gate6} lladdr {mac} dev {WAY_OUT} nud permanent\n\
             route add {gate} dev {WAY_OUT}\nroute add default via {gate}\n\
             route add {gate6} dev {WAY_OUT}\nroute add default via {gate6}\n",
            mac = MAC[0]
        );
        ip(&["-n", name, "-batch", "-"], &there)?;
        let settings = Path::new("/etc/netns").join(name);
        let resolver = format!("nameserver {}\noptions timeout:1 attempts:1\n", self.world(RESOLVER));
        std::fs::create_dir_all(&settings)
            .and_then(|()| std::fs::write(settings.join("resolv.conf"), resolver))
            .map_err(|error| error.to_string())
    }

    /// The client's address.
    pub fn client(&self) -> Ipv4Addr {
        self.world(CLIENT)
    }

    /// One of the world's, from 3 to 30.
    pub fn world(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, host)
    }

    /// The same in IPv6.
    pub fn v6(&self, host: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, self.subnet.into(), 0, 0, 0, host.into())
    }

    /// `program`, inside. The process is the program's own: nothing stands between it and a signal.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// How many packets went through an interface inside since it was made.
    pub fn passed(&self, interface: &str) -> usize {
        // What leaves by loopback comes in by it.
        let counters: &[&str] = if interface == "lo" { &["rx"] } else { &["rx", "tx"] };
        let files = counters.iter().map(|way| format!("/sys/class/net/{interface}/statistics/{way}_packets"));
        let output = self.command("cat").args(files).output().unwrap();
        let text = succeeded(&output).expect("counters");
        text.lines().map(|line| line.parse::<usize>().unwrap()).sum()
    }

    /// The interfaces inside: by another one than these two packets would go unseen.
    pub fn interfaces(&self) -> Vec<String> {
        let text = ip(&["-n", &self.name, "-o", "link", "show", "up"], "").expect("interfaces");
        let name =
            |line: &str| line.split(": ").nth(1).and_then(|name| name.split('@').next()).map(str::to_owned);
        text.lines().filter_map(name).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name, &self.link);
    }
}

/// Whose a subnet is.
#[derive(PartialEq)]
enum Claim {
    Ours,
    Taken,
}

/// Makes a namespace and its interfaces. The one on this side has a name that only one run can have.
fn claim(name: &str, link: &str) -> Result<Claim, String> {
    let taken = |error: String| if error.contains("File exists") { Ok(Claim::Taken) } else { Err(error) };
    if let Err(error) = ip(&["netns", "add", name], "") {
        return taken(error);
    }
    // Before there is an interface that they could be too late for.
    let quiet = "cd /proc/sys/net/ipv6/conf/default && echo 1 >addr_gen_mode && echo 0 >accept_ra && \
                 echo 0 >autoconf && echo 0 >router_solicitations && echo 0 >dad_transmits";
    let quiet = Command::new("ip").args(["netns", "exec", name, "sh", "-c", quiet]).output();
    let pair = [
        "link", "add", link, "address", MAC[0], "type", "veth", "peer", "name", WAY_OUT, "address", MAC[1],
        "netns", name,
    ];
    let made = quiet.map_err(|error| error.to_string()).and_then(|output| succeeded(&output));
    if let Err(error) = made.and_then(|_| ip(&pair, "")) {
        let _ = ip(&["netns", "delete", name], "");
        return taken(error);
    }
    Ok(Claim::Ours)
}

/// Of runs that are over and could not clean up.
fn remove_stale() {
    let listed = ip(&["netns", "list"], "").unwrap_or_default();
    for name in listed.lines().filter_map(|line| line.split(' ').next()) {
        let Some((pid, subnet)) = name.strip_prefix(MARK).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let numbers = pid.parse::<u32>().is_ok() && subnet.parse::<u8>().is_ok();
        if numbers && !Path::new("/proc").join(pid).exists() {
            remove(name, &format!("{MARK}{subnet}"));
        }
    }
}

fn remove(name: &str, link: &str) {
    let inside = ip(&["netns", "pids", name], "").unwrap_or_default();
    for pid in inside.split_whitespace() {
        let _ = Command::new("kill").args(["-KILL", pid]).output();
    }
    let _ = ip(&["link", "delete", link], "");
    let _ = ip(&["netns", "delete", name], "");
    let settings = Path::new("/etc/netns");
    let _ = std::fs::remove_dir_all(settings.join(name));
    // Only if nobody else has anything there.
    let _ = std::fs::remove_dir(settings);
}

/// Runs `ip`; its standard output, or what it complained of.
fn ip(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that fails early reads nothing.
        let _ = stdin.write_all(input.as_bytes());
    }
    succeeded(&child.wait_with_output().map_err(|error| error.to_string())?)
}

fn succeeded(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
