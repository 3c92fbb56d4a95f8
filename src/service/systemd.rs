//! The user's systemd: a socket that listens, and a service that the first call starts.
//!
//! The units are those of the packages (`packaging/systemd`), with the program, the home and the addresses of whoever installs
//! them. Where a package has put them already, and nothing differs, they are only enabled.

use std::path::{Path, PathBuf};

use super::{Activity, Found, MARK, Place, Service, ServiceError, ask, remove, tell, write};

const SERVICE: &str = include_str!("../../packaging/systemd/llmtor.service");
const SOCKET: &str = include_str!("../../packaging/systemd/llmtor.socket");
/// Where packages put units of users' own services.
const PACKAGED: &str = "/usr/lib/systemd/user";
const SYSTEMCTL: &str = "systemctl";
const UNITS: [&str; 2] = ["llmtor.service", "llmtor.socket"];
/// As the packages have it.
const PACKAGED_PROGRAM: &str = "/usr/bin/llmtor";
/// Of the daemon, beyond the grace period: to close what it has open.
const MARGIN_SECONDS: u64 = 30;
const SHORTEST_STOP: u64 = 90;

pub(super) fn install(service: &Service) -> Result<(), ServiceError> {
    check_manager()?;
    let (unit, socket) = (unit(service)?, socket(service)?);
    if !is_packaged(service, &unit, &socket) {
        let [unit_path, socket_path] = own(service);
        write(&unit_path, unit.as_bytes())?;
        write(&socket_path, socket.as_bytes())?;
    }
    // The unit may write there, and cannot make it.
    std::fs::create_dir_all(&service.home)
        .map_err(|error| ServiceError::File { path: service.home.clone(), kind: error.kind() })?;
    user(&["daemon-reload"])?;
    user(&["enable", "--now", "llmtor.socket"])
}

pub(super) fn uninstall(service: &Service) -> Result<(), ServiceError> {
    // Whoever cleans up need not know whether there is anything.
    if paths(service).iter().all(|path| !path.exists()) {
        return Ok(());
    }
    check_manager()?;
    if home(service).is_some() {
        user(&["disable", "--now", "llmtor.socket", "llmtor.service"])?;
    }
    for path in own(service) {
        remove(&path)?;
    }
    user(&["daemon-reload"])
}

pub(super) fn start() -> Result<(), ServiceError> {
    check_manager()?;
    user(&["start", "llmtor.socket", "llmtor.service"])
}

pub(super) fn stop() -> Result<(), ServiceError> {
    check_manager()?;
    // The socket first: a call in between would start the service again.
    user(&["stop", "llmtor.socket", "llmtor.service"])
}

pub(super) fn activity() -> Result<Activity, ServiceError> {
    check_manager()?;
    let state = |unit: &str| {
        let output = ask(SYSTEMCTL, &["--user", "is-active", unit])?;
        Ok::<_, ServiceError>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(match (state("llmtor.service")?.as_str(), state("llmtor.socket")?.as_str()) {
        ("active" | "activating" | "reloading" | "deactivating", _) => Activity::Running,
        ("failed", _) | (_, "failed") => Activity::Failed,
        (_, "active") => Activity::Listening,
        _ => Activity::Stopped,
    })
}

/// Whose home the installed unit is for.
pub(super) fn home(service: &Service) -> Option<Found> {
    let paths = paths(service);
    let text = paths.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="))?;
    match line.split_once("\"--home\" \"") {
        Some((_, rest)) => Some(Found::Named(rest.trim_end_matches('"').into())),
        None => Some(Found::Default),
    }
}

/// Where the units may be, the user's own first.
pub(super) fn paths(service: &Service) -> Vec<PathBuf> {
    let packaged = UNITS.map(|unit| Path::new(PACKAGED).join(unit));
    own(service).into_iter().chain(packaged).collect()
}

fn own(service: &Service) -> [PathBuf; 2] {
    UNITS.map(|unit| service.user.config.join("systemd/user").join(unit))
}

/// Whether a package brought the very same units.
fn is_packaged(service: &Service, unit: &str, socket: &str) -> bool {
    let is = |name: &str, own: &str, original: &str| {
        let found = std::fs::read_to_string(Path::new(PACKAGED).join(name));
        found.is_ok_and(|found| found == original) && without_mark(own) == original
    };
    own(service).iter().all(|path| !path.exists())
        && is("llmtor.service", unit, SERVICE)
        && is("llmtor.socket", socket, SOCKET)
}

fn without_mark(text: &str) -> &str {
    text.split_once('\n').map_or(text, |(first, rest)| if first.contains(MARK) { rest } else { text })
}

/// The service, for this program and home.
fn unit(service: &Service) -> Result<String, ServiceError> {
    let arguments = service.arguments()?;
    let is_usual = service.place == Place::Default && service.program == Path::new(PACKAGED_PROGRAM);
    let mut text = format!("# {MARK}.\n{SERVICE}");
    if !is_usual {
        let quoted: Vec<_> = arguments.iter().map(|argument| format!("\"{argument}\"")).collect();
        text = replaced(&text, "ExecStart=", &quoted.join(" "));
        text = replaced(&text, "ReadWritePaths=", &format!("\"-{}\"", service.home.display()));
    }
    let stop = (service.grace_seconds + MARGIN_SECONDS).max(SHORTEST_STOP);
    Ok(replaced(&text, "TimeoutStopSec=", &stop.to_string()))
}

/// The socket, for these addresses.
fn socket(service: &Service) -> Result<String, ServiceError> {
    let (first, also) = service.listen.addresses();
    if first.port() == 0 {
        return Err(ServiceError::NoPort);
    }
    let addresses = std::iter::once(first).chain(also.map(|ip| (ip, first.port()).into()));
    let listen: Vec<_> = addresses.map(|address| format!("ListenStream={address}")).collect();
    let mut lines: Vec<&str> = SOCKET.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("ListenStream=")).unwrap_or(lines.len());
    lines.retain(|line| !line.starts_with("ListenStream="));
    lines.splice(at..at, listen.iter().map(String::as_str));
    Ok(format!("# {MARK}.\n{}\n", lines.join("\n")))
}

/// The one line that begins so says something else.
fn replaced(text: &str, key: &str, value: &str) -> String {
    let line = |line: &str| if line.starts_with(key) { format!("{key}{value}") } else { line.to_owned() };
    text.lines().map(line).fold(String::new(), |text, line| text + &line + "\n")
}

fn user(arguments: &[&str]) -> Result<(), ServiceError> {
    let with_user: Vec<_> = std::iter::once("--user").chain(arguments.iter().copied()).collect();
    tell(SYSTEMCTL, &with_user)
}

/// Whether there is anybody to talk to. `systemctl` exits with 1 while the system is `degraded`, which is none of ours.
fn check_manager() -> Result<(), ServiceError> {
    let output = ask(SYSTEMCTL, &["--user", "is-system-running"])?;
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if matches!(state.as_str(), "running" | "degraded" | "starting" | "initializing" | "maintenance") {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let reason = if said.is_empty() { state } else { said };
    Err(ServiceError::NoManager { manager: "systemd for users", reason })
}

#[cfg(test)]
mod tests {
    use super::super::UserDirectories;
    use super::*;

    fn service(program: &str, place: Place, listen: &str) -> Service {
        let user = UserDirectories { home: "/home/u".into(), config: "/nonexistent/config".into() };
        let home = ("/home/u/my home".into(), place);
        Service::new(program.into(), home, listen.parse().unwrap(), 10, user)
    }

    #[test]
    fn a_package_s_program_and_the_usual_home_leave_the_units_as_the_package_has_them() {
        let service = service(PACKAGED_PROGRAM, Place::Default, "localhost:8787");
        assert_eq!(without_mark(&unit(&service).unwrap()), SERVICE);
        assert_eq!(without_mark(&socket(&service).unwrap()), SOCKET);
    }

    #[test]
    fn another_program_home_and_address_stand_in_the_units() {
        let service = service("/opt/llm tor/llmtor", Place::Named, "127.0.0.1:9000");
        let unit = unit(&service).unwrap();
        for line in [
            "ExecStart=\"/opt/llm tor/llmtor\" \"serve\" \"--home\" \"/home/u/my home\"",
            "ReadWritePaths=\"-/home/u/my home\"",
        ] {
            assert!(unit.lines().any(|found| found == line), "{unit}");
        }
        let socket = socket(&service).unwrap();
        let listens: Vec<_> = socket.lines().filter(|line| line.starts_with("ListenStream=")).collect();
        assert_eq!(listens, ["ListenStream=127.0.0.1:9000"]);
    }

    #[test]
    fn a_longer_grace_period_gets_a_longer_stop() {
        let mut service = service(PACKAGED_PROGRAM, Place::Default, "localhost:8787");
        service.grace_seconds = 600;
        assert!(unit(&service).unwrap().contains("\nTimeoutStopSec=630\n"));
    }

    #[test]
    fn what_would_break_a_unit_s_lines_is_refused() {
        for path in ["/home/u/a\"b", "/home/u/50%", "/home/u/a\nExecStartPre=/bin/sh"] {
            let refused = unit(&service(path, Place::Default, "localhost:8787"));
            assert!(matches!(refused, Err(ServiceError::Path(_))), "{path}");
        }
        let refused = socket(&service(PACKAGED_PROGRAM, Place::Default, "localhost:0"));
        assert!(matches!(refused, Err(ServiceError::NoPort)));
    }

    #[test]
    fn no_line_of_the_units_listens_beyond_this_machine() {
        let listens = SOCKET.lines().filter_map(|line| line.strip_prefix("ListenStream="));
        for address in listens {
            let address: std::net::SocketAddr = address.parse().unwrap();
            assert!(address.ip().is_loopback());
        }
    }
}
