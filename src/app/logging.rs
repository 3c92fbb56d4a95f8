//! Logging: to standard error, and of a daemon also into files of the home; never content.
//!
//! The level is for our own words. What other crates say stops at warnings: the Tor client's details name relays, and so
//! whole paths, and the ports of targets, which its safe logging does not hide; its warnings name bridges by half. So it stops at errors.
//!
//! | | standard error | files |
//! | --- | --- | --- |
//! | who | every command | the daemon ([`keep`]) |
//! | level | `log.level` | the same, and infos at least: there is nobody to ask again |
//! | times | exact | whole seconds |
//! | kept | by whoever reads it | `log.files` days, a file a day, for the owner alone |
//!
//! Deliberately absent: a writer in the background. What was said before a crash is what one wants to read after it.

pub mod reading;

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::OnceLock;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::level_filters::LevelFilter;
use tracing_appender::rolling::{RollingFileAppender, RollingWriter, Rotation};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::OptionalWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::clock::{Clock as _, SystemClock};
use crate::config::Level;
use crate::datadir::Home;

/// The crate whose words the level is for.
const OWN: &str = env!("CARGO_CRATE_NAME");
/// The Tor client's parts. What fails at a bridge is told with the half of its address, which its safe logging shows of whatever it
/// takes for a guard; of how the client fares its status tells, which names nobody.
const TOR: [&str; 2] = ["tor_", "arti_"];
/// Quotes messages that it does not understand, and what a browser is asked for is a session.
const QUOTING: &str = "chromiumoxide";
/// What a file's name begins and ends with; its day (UTC) is in between.
const PREFIX: &str = "llmtor";
const SUFFIX: &str = "log";

/// Where the daemon's words are kept, once that is known.
static KEPT: OnceLock<RollingFileAppender> = OnceLock::new();

/// Starts logging. The first call counts; a process has one level.
pub fn start(level: Level) {
    let output = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(targets(level));
    let file = tracing_subscriber::fmt::layer()
        .with_writer(Kept)
        .with_ansi(false)
        .with_timer(WholeSeconds)
        // A full disk is told by those whose work it stops.
        .log_internal_errors(false)
        .with_filter(targets(level.max(Level::Info)));
    let subscriber = tracing_subscriber::registry().with(output).with(file);
    // A second start (the demo's parts share one process) leaves the first as it is.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// From now on what this process says is kept in `home`, for `days` days; for the daemon. A disk that does not take it
/// stops nobody.
pub fn keep(home: &Home, days: usize) {
    if days == 0 {
        return;
    }
    // The files are made by a library, at midnights to come; they are as private as everything here.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let directory = match home.open_logs() {
        Ok(directory) => directory,
        Err(error) => return tracing::warn!("no log is kept: {error}"),
    };
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(PREFIX)
        .filename_suffix(SUFFIX)
        .max_log_files(days)
        .build(directory);
    match files {
        // A second home in one process, if ever, logs into the first's files.
        Ok(files) => drop(KEPT.set(files)),
        Err(error) => tracing::warn!("no log is kept in the home: {error}; is its disk full or read-only?"),
    }
}

/// Writes into [`KEPT`], where there is one.
struct Kept;

impl<'a> MakeWriter<'a> for Kept {
    type Writer = OptionalWriter<RollingWriter<'a>>;

    fn make_writer(&'a self) -> Self::Writer {
        KEPT.get().map(MakeWriter::make_writer).into()
    }
}

/// Finer times would be a finer record of whoever sits there.
struct WholeSeconds;

impl FormatTime for WholeSeconds {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = OffsetDateTime::from_unix_timestamp(SystemClock.now().unix()).map_err(|_| fmt::Error)?;
        w.write_str(&now.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
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
        .with_targets(TOR.map(|part| (part, own.min(LevelFilter::ERROR))))
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
        assert!(targets(Level::Info).would_enable("hyper", &tracing::Level::WARN));
        // It names a bridge's first octet, its port and the beginning of its fingerprint.
        for part in ["tor_guardmgr::guard", "tor_circmgr", "tor_chanmgr::mgr", "arti_client::client"] {
            assert!(!targets(Level::Trace).would_enable(part, &tracing::Level::WARN), "{part}");
            assert!(targets(Level::Info).would_enable(part, &tracing::Level::ERROR), "{part}");
        }
        assert!(!targets(Level::Off).would_enable("llmtor", &tracing::Level::ERROR));
    }
}
