//! A whole world on loopback: the reference backend, a recording relay before its anonymous plane, and a
//! daemon with tokens.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

pub use super::house::MODEL;
use super::house::{Daemon, House};
use super::relay::Relay;

/// The client's home.
const CLIENT: &str = "client";

/// Two homes, two processes, one relay.
pub struct World {
    house: House,
    /// `llmtor serve`.
    pub daemon: Daemon,
    /// Between the daemon and the backend's anonymous plane.
    pub relay: Relay,
}

impl World {
    /// Brings everything up with `tokens` usable tokens, all logging at `level`.
    pub fn start(tokens: usize, level: &str) -> Self {
        let mut house = House::open(tokens, level);
        let relay = Relay::start(house.address());
        house.furnish(CLIENT, &format!("http://{}", relay.address()), tokens);
        // Few tries, so that a doubt is reached before a stream has begun.
        let daemon = house.serve(CLIENT, &["--set", "anonymous.attempts=3"]);
        Self { house, daemon, relay }
    }

    /// The daemon's home.
    pub fn client_home(&self) -> PathBuf {
        self.home(CLIENT)
    }
}

impl Deref for World {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut House {
        &mut self.house
    }
}
