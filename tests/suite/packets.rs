//! Proof by packet capture that nothing leaves this machine but through Tor, and that the proof can fail.

mod flows;
mod judge;
