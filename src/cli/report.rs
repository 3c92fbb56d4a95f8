//! `llmtor report`

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use time::OffsetDateTime;

use crate::app::logging::reading;
use crate::app::report::scrub::{Hosts, Scrub};
use crate::app::report::{self, Facts, Setting};
use crate::config::{Config, Layers, Level};
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::keys;

use super::Context;
use super::arguments::ReportOptions;
use super::doctor;
use super::exit::{Exit, Failure};
use super::operate::operate_in;

/// How many lines of the log go in.
const LINES: usize = 100;

pub(super) async fn run(options: &ReportOptions, context: &Context) -> Result<Exit, Failure> {
    let path = context.home_path()?;
    let found = doctor::examine(context, |_| ()).await?;
    let home = Home::open(&path).ok();
    let layers = home.as_ref().and_then(|home| context.layers(Some(home), &[]).ok());
    let settings = layers
        .as_ref()
        .map(|layers| layers.values().map(|(key, value)| Setting::of(key, value)).collect())
        .unwrap_or_default();
    let config = layers.and_then(|layers| Layers::finish(layers).ok());
    let mut scrub = scrub(&path, config.as_ref(), options);
    let status = match (&home, &config) {
        (Some(home), Some(config)) => match operate_in(context.output, home, config, Operation::Status).await
        {
            Ok(Report::Status(status)) => Some(status),
            _ => None,
        },
        _ => None,
    };
    // Which models somebody uses is theirs.
    let pinned = home.as_ref().and_then(|home| keys::store::load(home).ok()).unwrap_or_default();
    let stocked = status.iter().flat_map(|status| status.models.keys());
    pinned.models().chain(stocked).for_each(|model| scrub.name(model.as_str(), "<model>"));
    let log = reading::last(&Home::logs_in(&path), LINES, Level::Trace).unwrap_or_default();
    let day = OffsetDateTime::now_utc().date().to_string();
    let system = system();
    let facts =
        Facts { day: &day, system: &system, settings, doctor: &found, status: status.as_ref(), log: &log };
    let text = report::write(&facts, &scrub);

    let file = options.output.clone().unwrap_or_else(|| PathBuf::from(format!("llmtor-report-{day}.md")));
    if context.output.is_json() {
        let saved = if options.yes { Some(save(&file, &text)?) } else { None };
        context.output.result(&json!({ "report": text, "saved": saved }), String::new);
        return Ok(Exit::Done);
    }
    context.output.result(&(), || text.clone());
    if options.yes || confirmed(&file) {
        save(&file, &text)?;
        context.output.remark(&format!("saved as {}; nobody was sent it", file.display()));
    } else {
        context.output.remark("not saved; --yes saves it without asking, --output FILE says where");
    }
    Ok(Exit::Done)
}

fn scrub(path: &Path, config: Option<&Config>, options: &ReportOptions) -> Scrub {
    let hosts = if options.with_hosts { Hosts::Told } else { Hosts::Hidden };
    let directory = directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_path_buf());
    let mut scrub = Scrub::new(path, directory.as_deref(), hosts);
    for variable in ["USER", "LOGNAME", "USERNAME", "SUDO_USER"] {
        scrub.name(&std::env::var(variable).unwrap_or_default(), "<user>");
    }
    let written = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    scrub.name(written.trim(), "<machine>");
    for variable in ["HOSTNAME", "COMPUTERNAME"] {
        scrub.name(&std::env::var(variable).unwrap_or_default(), "<machine>");
    }
    let urls = config.map(|config| [config.backend.identity_url(), config.backend.anonymous_url()]);
    for url in urls.into_iter().flatten().flatten() {
        scrub.host(url);
    }
    scrub
}

fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map(|name| format!(", {}", name.trim_matches('"'))).unwrap_or_default();
    format!("{} on {}{name}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Asked at a terminal only, after all of it was shown.
fn confirmed(file: &Path) -> bool {
    let mut terminal = std::io::stdin().lock();
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _ = write!(std::io::stderr(), "Save this as {}? [y/N] ", file.display());
    let mut answer = String::new();
    terminal.read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn save<'a>(file: &'a Path, text: &str) -> Result<&'a Path, Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map(|()| file).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Usage, format!("{} is there already and was left alone", file.display()))
                .advise("choose another name with --output FILE")
        }
        _ => Failure::new(Exit::Failed, format!("{} cannot be written: {error}", file.display()))
            .advise("choose another place with --output FILE"),
    })
}
