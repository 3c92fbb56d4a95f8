//! Logging: to standard error, never content.
//!
//! The level is for our own words. What other crates say stops at warnings: the Tor client's details name relays, and so
//! whole paths, and the ports of targets, which its safe logging does not hide.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::Level;

/// The crate whose words the level is for.
const OWN: &str = env!("CARGO_CRATE_NAME");
/// Of a test network it says that there are few relays in it, without end.
const TALKATIVE: &str = "tor_netdir";
/// Quotes messages that it does not understand, and what a browser is asked for is a session.
const QUOTING: &str = "chromiumoxide";

/// Starts logging. The first call counts; a process has one level.
pub fn start(level: Level) {
    let output = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry().with(targets(level)).with(output);
    // A second start (the demo's parts share one process) leaves the first as it is.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn targets(level: Level) -> Targets {
    let own = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target(TALKATIVE, own.min(LevelFilter::ERROR))
        .with_target(QUOTING, LevelFilter::OFF)
        .with_target(OWN, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_never_say_more_than_warnings() {
        for level in [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            let targets = targets(level);
            for detail in [tracing::Level::INFO, tracing::Level::DEBUG, tracing::Level::TRACE] {
                for other in ["arti_client::client", "tor_circmgr::build", "tor_guardmgr", "hyper", "rustls"]
                {
                    assert!(!targets.would_enable(other, &detail), "{other} at {detail}");
                }
            }
        }
        assert!(!targets(Level::Trace).would_enable("chromiumoxide::conn", &tracing::Level::ERROR));
        assert!(targets(Level::Trace).would_enable("llmtor::tor", &tracing::Level::TRACE));
        assert!(targets(Level::Info).would_enable("tor_guardmgr", &tracing::Level::WARN));
        assert!(!targets(Level::Off).would_enable("llmtor", &tracing::Level::ERROR));
    }
}
