//! Proof by packet capture that nothing leaves this machine but through Tor, and that the proof can fail.
//!
//! A client lives in a network namespace in which every packet that leaves or comes is captured; the private Tor network,
//! the backend and a resolver are the world around it, all within its reach. The judge reads the packets against a
//! list of what may be. A build that leaks on purpose shows that each way of leaking is found out.
//!
//! Needs root, network namespaces, `tcpdump`, `curl` and `tor`; where they are missing it says so and passes, except in CI.

mod anti;
mod capture;
mod flows;
mod judge;
mod life;
mod namespace;
mod world;
