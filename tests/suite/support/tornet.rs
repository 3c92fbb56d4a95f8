//! A private Tor network on this machine, of real relays (Debian's `tor`): three directory authorities, four exits, and on
//! demand a client and onion services.
//!
//! Where `tor` is missing it says so and the tests that need it pass, except in CI.
//!
//! | invariant | how |
//! | --- | --- |
//! | nothing leaves the machine | every address is the [`Place`]'s; the relays know no authority but these |
//! | the far end sees which exit was used | each exit is told another address for the same name ([`Place::doors`]) |
//! | names that the exits ask for are recorded | their resolver is a thread of the test process |
//! | no process outlives the tests, whatever kills them | tor watches its owner itself, and a [`Keeper`] ends and removes everything when the owner's end of a pipe closes |
//! | tests that break the network disturb nobody | they hold it alone ([`breaking`]), the others share it ([`using`]); what was broken is mended at the end |

pub mod bridge;
mod control;
mod keeper;
mod keys;
mod node;
mod resolver;
mod torrc;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use control::Circuit;
pub use resolver::Resolver;

use keeper::Keeper;
use keys::Identity;
use node::Node;

/// Arti's settings for a network that is not there: one address of this machine where nobody listens.
pub const NOWHERE: &str = "\
[tor_network.authorities]
v3idents = [\"0123456789ABCDEF0123456789ABCDEF01234567\"]
uploads = [[\"127.0.0.9:1\"]]
downloads = [[\"127.0.0.9:1\"]]
votes = [[\"127.0.0.9:1\"]]
[[tor_network.fallback_caches]]
rsa_identity = \"0123456789ABCDEF0123456789ABCDEF01234567\"
ed_identity = \"Ag/Gc4vnZ9rLgcq3vRzLhD7aRWq2SKMMxmLRqxQSdH0\"
orports = [\"127.0.0.9:1\"]
";

/// How many of the first relays are authorities; the others are exits.
const AUTHORITIES: usize = 3;
/// How many exits there are.
const EXITS: usize = 4;
/// How many relays there are.
const RELAYS: usize = AUTHORITIES + EXITS;
/// A start whose first vote missed a relay is begun anew.
const STARTS: usize = 3;
/// How long one start may take to a consensus that names every relay, at every relay.
const CONSENSUS_WITHIN: Duration = Duration::from_secs(30);
/// How long clients and onion services may take on a network that stands.
const READY_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Where a network is set up.
pub struct Place {
    /// Of the nodes, authorities first. All different.
    pub addresses: [Ipv4Addr; RELAYS],
    /// What each exit is told when it asks for a name that is known; all different, so that whoever listens there knows
    /// which exit dials.
    pub doors: [Ipv4Addr; EXITS],
    /// Where the client's SOCKS port is.
    pub client: Ipv4Addr,
    /// What stands before each command, such as `ip netns exec NAME`. It must not fork: signals go to its process.
    pub prefix: Vec<String>,
    /// Who answers the exits' questions for names.
    pub names: Names,
    /// The first of [`Place::PORTS`] consecutive ports that are free at every address; `None` where this process can
    /// try the addresses itself.
    pub ports: Option<u16>,
}

/// Who answers the exits' questions for names.
pub enum Names {
    /// A thread of this process, listening there.
    Here(Ipv4Addr),
    /// Somebody else; the doors have no meaning then.
    There(SocketAddrV4),
}

impl Place {
    /// How many ports a network takes.
    pub const PORTS: u16 = 3;

    /// On loopback.
    pub fn loopback() -> Self {
        let address = |number: usize| Ipv4Addr::new(127, 0, 77, u8::try_from(number).unwrap());
        Self {
            addresses: std::array::from_fn(|at| address(1 + at)),
            doors: std::array::from_fn(|at| address(200 + at)),
            client: address(100),
            prefix: Vec::new(),
            names: Names::Here(address(250)),
            ports: None,
        }
    }

    /// Ports below those that the system gives away by itself, so that no connection's own end can be in the way.
    fn free_ports(&self) -> u16 {
        let free = |port: u16| {
            let all = self.addresses.iter().chain([&self.client]);
            all.copied()
                .all(|ip| (port..port + Self::PORTS).all(|port| TcpListener::bind((ip, port)).is_ok()))
        };
        let from = u16::try_from(std::process::id() % 1000).unwrap() * 20 + 10_000;
        (from..32_000).step_by(10).find(|port| free(*port)).expect("free ports")
    }
}

/// A running network. Ends when dropped, or with the process.
pub struct TorNetwork {
    room: PathBuf,
    prefix: Vec<String>,
    doors: [Ipv4Addr; EXITS],
    common: String,
    or_port: u16,
    relays: Vec<Relay>,
    resolver: Option<Resolver>,
    client_address: SocketAddrV4,
    client: Mutex<Option<Arc<TorClient>>>,
    guests: Mutex<Vec<Node>>,
    broken: AtomicBool,
    keeper: Keeper,
}

/// A relay's process, and who it is to others.
struct Relay {
    node: Mutex<Option<Node>>,
    address: Ipv4Addr,
    identity: Identity,
}

/// C tor as a client.
pub struct TorClient {
    socks: SocketAddrV4,
    control: PathBuf,
    _node: Mutex<Node>,
}

/// The network of this run, shared with other tests. `None`, and a line that says why, where there is no `tor`.
pub fn using() -> Option<Using> {
    let network = shared()?;
    Some(Using { _lease: LEASES.read().unwrap_or_else(PoisonError::into_inner), network })
}

/// The network of this run, for this test alone.
pub fn breaking() -> Option<Breaking> {
    let network = shared()?;
    Some(Breaking { network, _lease: LEASES.write().unwrap_or_else(PoisonError::into_inner) })
}

static LEASES: RwLock<()> = RwLock::new(());

fn shared() -> Option<&'static TorNetwork> {
    static SHARED: OnceLock<Option<TorNetwork>> = OnceLock::new();
    SHARED.get_or_init(|| is_installed().then(|| TorNetwork::start(Place::loopback()))).as_ref()
}

/// Whether the programs are here; says so where they are not.
pub fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = ["tor", "tor-gencert"]
        .into_iter()
        .filter(|name| !std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
        .collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "the way through Tor cannot be tested without {missing:?}");
        eprintln!("SKIPPED: the way through Tor is not tested without {missing:?} (Debian: tor)");
    }
    missing.is_empty()
}

/// A lease of the network that others have too.
pub struct Using {
    network: &'static TorNetwork,
    _lease: RwLockReadGuard<'static, ()>,
}

impl Deref for Using {
    type Target = TorNetwork;

    fn deref(&self) -> &TorNetwork {
        self.network
    }
}

/// The only lease of the network. What was broken is mended when this is dropped.
pub struct Breaking {
    network: &'static TorNetwork,
    // Given back after the mending.
    _lease: RwLockWriteGuard<'static, ()>,
}

impl Breaking {
    /// Ends a relay without a word.
    pub fn kill(&self, index: usize) {
        self.network.broken.store(true, Ordering::SeqCst);
        self.network.relays[index].with(Node::kill);
    }

    /// A relay stands still, its connections open.
    pub fn stop(&self, index: usize) {
        self.network.broken.store(true, Ordering::SeqCst);
        self.network.relays[index].with(|node| node.signal("-STOP"));
    }
}

impl Deref for Breaking {
    type Target = TorNetwork;

    fn deref(&self) -> &TorNetwork {
        self.network
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        if self.network.broken.swap(false, Ordering::SeqCst) {
            self.network.renew();
        }
    }
}

impl TorNetwork {
    /// Brings a network up: on return every relay has a consensus that names every relay.
    pub fn start(place: Place) -> Self {
        let begun = Instant::now();
        let keeper = Keeper::start();
        let room = keeper.room().to_owned();
        let first_port = place.ports.unwrap_or_else(|| place.free_ports());
        let (or_port, dir_port) = (first_port, first_port + 1);
        let resolver = match place.names {
            Names::Here(ip) => Some(Resolver::start(ip, &place.doors)),
            Names::There(_) => None,
        };
        for exit in 0..EXITS {
            let address = match (&place.names, &resolver) {
                (Names::There(address), _) => *address,
                (Names::Here(_), resolver) => resolver.as_ref().expect("started above").address(exit),
            };
            std::fs::write(resolv_conf(&room, exit), format!("nameserver {address}\n")).unwrap();
        }

        let identities = keys::make(&room, &place.addresses, AUTHORITIES, dir_port);
        let common = torrc::common(&place.addresses, &identities[..AUTHORITIES], or_port, dir_port);
        let relays: Vec<_> = identities
            .into_iter()
            .zip(place.addresses)
            .map(|(identity, address)| Relay { node: Mutex::default(), address, identity })
            .collect();
        let torrc = |at: usize, votes: u64| {
            let address = place.addresses[at];
            let own = if at < AUTHORITIES {
                torrc::authority(votes)
            } else {
                torrc::exit(address, &resolv_conf(&room, at - AUTHORITIES))
            };
            format!("{common}{}{own}", torrc::relay(address, or_port, dir_port))
        };
        let full = (0..STARTS).any(|_| {
            let votes = second();
            for (at, relay) in relays.iter().enumerate() {
                let node = Node::start(keys::directory(&room, at), &torrc(at, votes), &place.prefix, &keeper);
                *relay.node.lock().unwrap() = Some(node);
            }
            let up =
                |relay: &Relay| relay.with(|node| node.has_consensus_of(RELAYS) && node.is_bootstrapped());
            let full = poll(CONSENSUS_WITHIN, || relays.iter().all(up));
            if !full {
                eprintln!("the network's first vote missed a relay: once more");
                for relay in &relays {
                    relay.with(Node::forget);
                }
            }
            full
        });
        let logs = || relays.iter().map(|relay| relay.with(|node| node.log())).collect::<Vec<_>>().join("\n");
        assert!(full, "no consensus of all relays:\n{}", logs());
        eprintln!("the private Tor network stands after {:.1} s", begun.elapsed().as_secs_f32());
        Self {
            room,
            prefix: place.prefix,
            doors: place.doors,
            common,
            or_port,
            relays,
            resolver,
            client_address: SocketAddrV4::new(place.client, first_port + 2),
            client: Mutex::default(),
            guests: Mutex::default(),
            broken: AtomicBool::new(false),
            keeper,
        }
    }

    /// Settings for `tor.arti_config`, without directories.
    pub fn arti_toml(&self) -> String {
        self.arti_toml_at(self.or_port())
    }

    /// The same, as if the relays listened at this port.
    pub fn arti_toml_at(&self, port: u16) -> String {
        let quoted =
            |items: &[String]| items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
        let authorities = &self.relays[..AUTHORITIES];
        let idents: Vec<_> = authorities.iter().filter_map(|relay| relay.identity.v3.clone()).collect();
        let places: Vec<_> =
            authorities.iter().map(|relay| format!("[\"{}:{port}\"]", relay.address)).collect();
        let places = places.join(", ");
        let mut toml = format!(
            "[storage.permissions]\ndangerously_trust_everyone = true\n\
             [path_rules]\nipv4_subnet_family_prefix = 33\nipv6_subnet_family_prefix = 129\n\
             [address_filter]\nallow_local_addrs = true\n\
             [tor_network.authorities]\nv3idents = [{}]\n\
             uploads = [{places}]\ndownloads = [{places}]\nvotes = [{places}]\n",
            quoted(&idents)
        );
        for relay in &self.relays {
            let _ = write!(
                toml,
                "[[tor_network.fallback_caches]]\nrsa_identity = \"{}\"\ned_identity = \"{}\"\n\
                 orports = [\"{}:{port}\"]\n",
                relay.identity.rsa, relay.identity.ed25519, relay.address
            );
        }
        toml
    }

    /// The indices of all relays.
    pub fn relays(&self) -> std::ops::Range<usize> {
        0..self.relays.len()
    }

    /// The indices of the exits.
    pub fn exits(&self) -> std::ops::Range<usize> {
        AUTHORITIES..self.relays.len()
    }

    /// Where this exit, alone, finds every name that the resolver knows.
    pub fn door(&self, exit: usize) -> Ipv4Addr {
        self.doors[exit - AUTHORITIES]
    }

    /// All of them.
    pub fn doors(&self) -> [Ipv4Addr; EXITS] {
        self.doors
    }

    /// The exit that was told this address.
    pub fn exit_at(&self, door: IpAddr) -> Option<usize> {
        self.exits().find(|exit| door == self.door(*exit))
    }

    /// Where the relays are.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.relays.iter().map(|relay| relay.address).collect()
    }

    /// Where the relays listen.
    pub fn relay_sockets(&self) -> Vec<SocketAddrV4> {
        self.addresses().into_iter().map(|address| SocketAddrV4::new(address, self.or_port())).collect()
    }

    /// At which port they listen for circuits.
    pub fn or_port(&self) -> u16 {
        self.or_port
    }

    /// Who answers the exits' questions for names. Panics where that is somebody else.
    pub fn resolver(&self) -> &Resolver {
        self.resolver.as_ref().expect("a resolver of this process")
    }

    /// How many circuits clients have, by the account of the relays that they begin at. An embedded client's are told from
    /// others' only by what they become: take the difference.
    pub fn client_circuits(&self) -> usize {
        self.relays.iter().map(|relay| relay.with(|node| node.client_circuits())).sum()
    }

    /// The client; started, and waited for, when first asked for.
    pub fn client(&self) -> Arc<TorClient> {
        let start = || {
            let torrc = format!("{}SocksPort {} IsolateSOCKSAuth\n", self.common, self.client_address);
            let node = Node::start(self.room.join("client"), &torrc, &self.prefix, &self.keeper);
            assert!(poll(READY_WITHIN, || node.is_bootstrapped()), "no client: {}", node.log());
            Arc::new(TorClient {
                socks: self.client_address,
                control: node.control(),
                _node: Mutex::new(node),
            })
        };
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(client.get_or_insert_with(start))
    }

    /// Starts an onion service that passes its port 80 on to `target`; its host name. On return its descriptor has been
    /// uploaded.
    pub fn onion_service(&self, target: SocketAddr) -> String {
        let mut guests = self.guests.lock().unwrap();
        let home = self.room.join(format!("onion-{}", uuid::Uuid::new_v4().simple()));
        let service = home.join("service");
        let torrc = format!(
            "{}SocksPort 0\nHiddenServiceDir {}\nHiddenServiceVersion 3\nHiddenServicePort 80 {target}\n",
            self.common,
            service.display()
        );
        let node = Node::start(home, &torrc, &self.prefix, &self.keeper);
        let uploaded = poll(READY_WITHIN, || node.has_uploaded_descriptors());
        assert!(uploaded, "no onion service: {}", node.log());
        guests.push(node);
        std::fs::read_to_string(service.join("hostname")).unwrap().trim().to_owned()
    }

    /// Ends all relays without a word. The shared network is broken by [`Breaking`] only.
    pub fn kill_all(&self) {
        self.broken.store(true, Ordering::SeqCst);
        for relay in &self.relays {
            relay.with(Node::kill);
        }
    }

    /// As new. Relays and clients remember for a minute whom they could not reach, and ask guards that failed even
    /// later: those that nothing was done to are not what they were, either.
    fn renew(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let _ = std::fs::remove_dir_all(self.room.join("client"));
        self.relays.iter().for_each(|relay| relay.with(Node::kill));
        self.mend_all();
    }

    /// All relays work again, whatever was done to them. Waits until they know it.
    pub fn mend_all(&self) {
        self.relays.iter().for_each(|relay| relay.with(|node| node.mend(&self.keeper)));
        let up = |relay: &Relay| relay.with(|node| node.is_bootstrapped());
        // Not a panic: it may be on the way out of another.
        if !poll(READY_WITHIN, || self.relays.iter().all(up)) {
            eprintln!("the network is not what it was");
        }
    }
}

impl Relay {
    /// Panics before its first start.
    fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        act(node.as_mut().expect("started"))
    }
}

impl TorClient {
    /// Its SOCKS port.
    pub fn socks(&self) -> SocketAddrV4 {
        self.socks
    }

    /// The circuits that it has now.
    pub fn circuits(&self) -> Vec<Circuit> {
        control::circuits(&self.control)
    }
}

fn resolv_conf(room: &Path, exit: usize) -> PathBuf {
    room.join(format!("resolv{exit}.conf"))
}

/// The beginning of a second, counted within the interval of the first votes. Relays that are started now have told the
/// authorities of themselves when those vote, six seconds later.
fn second() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let next = Duration::from_secs(now.as_secs() + 1);
    thread::sleep(next.saturating_sub(now));
    next.as_secs() % torrc::FIRST_VOTES
}

/// Whether `done` came true in time.
pub fn poll(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// Reads a file that another process may be about to write.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
