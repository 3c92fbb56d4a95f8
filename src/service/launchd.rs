//! macOS: a launch agent of the user's, started at the log-in and again when it fails.
//!
//! Deliberately absent: launchd's own sockets. Taking them needs a call of Apple's that has no safe wrapper; the agent
//! runs from the log-in on instead.

use std::path::PathBuf;

use super::{Activity, Found, MARK, Service, ServiceError, ask, remove, tell, write};

const LABEL: &str = "org.llmtor.daemon";
const LAUNCHCTL: &str = "launchctl";

pub(super) fn install(service: &Service) -> Result<(), ServiceError> {
    let path = path(service);
    write(&path, plist(service)?.as_bytes())?;
    // One of an earlier installation would keep the old file's settings.
    let _ = tell(LAUNCHCTL, &["bootout", &target()]);
    tell(LAUNCHCTL, &["bootstrap", &domain(), &path.to_string_lossy()])
}

pub(super) fn uninstall(service: &Service) -> Result<(), ServiceError> {
    let path = path(service);
    if path.exists() {
        // It may not be loaded; the file goes all the same.
        let _ = tell(LAUNCHCTL, &["bootout", &target()]);
    }
    remove(&path)
}

pub(super) fn start() -> Result<(), ServiceError> {
    tell(LAUNCHCTL, &["kickstart", &target()])
}

pub(super) fn stop() -> Result<(), ServiceError> {
    tell(LAUNCHCTL, &["kill", "SIGTERM", &target()])
}

pub(super) fn activity() -> Result<Activity, ServiceError> {
    let output = ask(LAUNCHCTL, &["print", &target()])?;
    Ok(state(&String::from_utf8_lossy(&output.stdout)))
}

pub(super) fn home(service: &Service) -> Option<Found> {
    let text = std::fs::read_to_string(path(service)).ok()?;
    let named = text.split_once("<string>--home</string>").and_then(|(_, rest)| {
        let (_, rest) = rest.split_once("<string>")?;
        Some(rest.split_once("</string>")?.0.into())
    });
    Some(named.map_or(Found::Default, Found::Named))
}

pub(super) fn path(service: &Service) -> PathBuf {
    service.user.home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"))
}

fn state(printed: &str) -> Activity {
    if printed.lines().any(|line| line.trim() == "state = running") {
        Activity::Running
    } else {
        Activity::Stopped
    }
}

fn domain() -> String {
    #[cfg(unix)]
    return format!("gui/{}", rustix::process::getuid().as_raw());
    #[cfg(not(unix))]
    "gui".to_owned()
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

fn plist(service: &Service) -> Result<String, ServiceError> {
    let arguments: Vec<_> =
        service.arguments()?.iter().map(|word| format!("        <string>{word}</string>\n")).collect();
    let stop = service.grace_seconds + 30;
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- {MARK}. -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>{LABEL}</string>
    <key>ProgramArguments</key>
    <array>
{}    </array>
    <key>RunAtLoad</key>
    <true/>
    <key>KeepAlive</key>
    <dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>
    <key>ExitTimeOut</key>
    <integer>{stop}</integer>
    <key>ProcessType</key>
    <string>Background</string>
    <key>Umask</key>
    <integer>63</integer>
</dict>
</plist>
"#,
        arguments.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{Place, UserDirectories};
    use super::*;

    fn service(home: &std::path::Path, place: Place) -> Service {
        let user = UserDirectories { home: home.to_owned(), config: home.join(".config") };
        let listen = "localhost:8787".parse().unwrap();
        Service::new("/Applications/llmtor".into(), (home.join("vault"), place), listen, 10, user)
    }

    #[test]
    fn the_agent_names_the_program_and_its_home_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        for place in [Place::Default, Place::Named] {
            let service = service(dir.path(), place);
            let text = plist(&service).unwrap();
            assert!(text.contains("<string>/Applications/llmtor</string>\n        <string>serve</string>"));
            // `bootout` and friends are macOS's; the file is what can be looked at here.
            write(&path(&service), text.as_bytes()).unwrap();
            match (home(&service), place) {
                (Some(Found::Default), Place::Default) => {}
                (Some(Found::Named(found)), Place::Named) => assert_eq!(found, dir.path().join("vault")),
                _ => panic!("another home was found"),
            }
        }
    }

    #[test]
    fn what_launchd_prints_tells_whether_it_runs() {
        assert_eq!(state("gui/501/org.llmtor.daemon = {\n\tstate = running\n}"), Activity::Running);
        assert_eq!(state("Could not find service"), Activity::Stopped);
    }
}
