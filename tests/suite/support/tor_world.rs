//! A whole world behind Tor: the reference backend, a TLS front before it that only exits reach by its name, and
//! homes of clients whose settings name the private network.
//!
//! The identity plane goes to the backend directly, over loopback.

use std::ops::{Deref, DerefMut};

use super::front::Front;
use super::house::{Daemon, House};
use super::tornet::TorNetwork;

/// The only client that most tests have.
pub const CLIENT: &str = "client";

/// One backend, one front.
pub struct TorWorld {
    house: House,
    /// Before the backend's anonymous plane.
    pub front: Front,
    name: String,
    settings: Vec<String>,
}

impl TorWorld {
    /// A client with `tokens` usable tokens for a backend that stands behind `network`. No daemon runs yet.
    pub fn new(network: &TorNetwork, tokens: usize) -> Self {
        let mut house = House::open(tokens, "warn");
        // Exits remember names; another world has another.
        let name = format!("backend-{}.test", uuid::Uuid::new_v4().simple());
        let front = Front::start(&network.doors(), &name, house.address());
        network.resolver().tell(&name);
        let file = |name: &str, text: &str| {
            let path = house.room().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let settings = vec![
            format!("tor.arti_config={}", file("arti.toml", &network.arti_toml())),
            format!("tls.extra_roots={}", file("roots.pem", front.authority())),
            "anonymous.connect_seconds=15".to_owned(),
        ];
        let url = format!("https://{name}:{}", front.port());
        house.furnish(CLIENT, &url, tokens);
        Self { house, front, name, settings }
    }

    /// What the exits are asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `SECTION.KEY=VALUE` for every daemon from now on.
    pub fn set(&mut self, setting: impl Into<String>) {
        self.settings.push(setting.into());
    }

    /// A daemon, with more `arguments`.
    pub fn serve(&self, arguments: &[&str]) -> Daemon {
        let settings = self.settings.iter().flat_map(|setting| ["--set", setting]);
        self.house.serve(CLIENT, &settings.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// What a command with `--json` tells of the client.
    pub fn report(&self, arguments: &[&str]) -> serde_json::Value {
        self.house.report(CLIENT, arguments)
    }
}

impl Deref for TorWorld {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl DerefMut for TorWorld {
    fn deref_mut(&mut self) -> &mut House {
        &mut self.house
    }
}
