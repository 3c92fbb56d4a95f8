//! What an entry does.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::view::Entry;
use super::{Message, Seat};
use crate::browse::Slip;
use crate::control;
use crate::control::message::{Operation, Report, StatusReport};
use crate::datadir::Home;

/// Does what was clicked, off the main thread; what fails is said to `send`.
pub(super) struct Deeds<S> {
    seat: Seat,
    runtime: Handle,
    send: S,
    /// On X11 and Wayland the clipboard's owner hands it over: it lives as long as this does.
    clipboard: Option<arboard::Clipboard>,
}

impl<S: Fn(Message) -> Result<(), ()> + Clone + Send + 'static> Deeds<S> {
    pub(super) fn new(seat: Seat, runtime: Handle, send: S) -> Self {
        Self { seat, runtime, send, clipboard: None }
    }

    /// Anything but quitting and the autostart, which are the event loop's own.
    pub(super) fn perform(&mut self, entry: Entry, report: Option<&StatusReport>) {
        let result = match entry {
            Entry::OpenPage => self.ask(Operation::OpenPage),
            Entry::CopyUrl => match report.and_then(|report| report.daemon.as_ref()) {
                Some(daemon) => self.copy(&daemon.base_url, Secrecy::Open),
                None => Err("There is no base URL before llmtor runs.".into()),
            },
            Entry::CopyKey => match (self.seat.read_key)() {
                Some(key) => self.copy(key.expose(), Secrecy::Secret),
                None => Err("There is no key before llmtor has run.".into()),
            },
            Entry::LogFolder => open_folder(&self.seat.home),
            Entry::Pause => self.ask(Operation::Pause),
            Entry::Resume => self.ask(Operation::Resume),
            Entry::NewIdentity => self.ask(Operation::NewIdentity),
            Entry::Start => {
                let (starting, send) = ((self.seat.start)(), self.send.clone());
                self.runtime.spawn(async move {
                    if let Err(error) = starting.await {
                        let _ = send(Message::Said(error));
                    }
                });
                Ok(())
            }
            Entry::StartAtLogin | Entry::Quit => Ok(()),
        };
        if let Err(error) = result {
            let _ = (self.send)(Message::Said(error));
        }
    }

    /// The watcher shows what becomes of it, but for the page.
    #[expect(clippy::unnecessary_wraps, reason = "one of the ways of one table")]
    fn ask(&self, operation: Operation) -> Result<(), String> {
        let (home, send) = (self.seat.home.clone(), self.send.clone());
        self.runtime.spawn(async move {
            let (progress, _) = watch::channel(None);
            let failed = match control::ask(&home.control_path(), &operation, &progress).await {
                Ok(Ok(Report::Page(page))) => match Slip::open(&home, &page.link) {
                    // The browser may take its time to start; the daemon deletes it.
                    Ok(slip) => return slip.leave(),
                    // The error itself may have the link in it.
                    Err(error) => format!("No browser could be started: {}", error.kind()),
                },
                Ok(Ok(_)) => return,
                Ok(Err(refusal)) => refusal.message,
                Err(error) => error.to_string(),
            };
            let _ = send(Message::Said(failed));
        });
        Ok(())
    }

    fn copy(&mut self, text: &str, secrecy: Secrecy) -> Result<(), String> {
        let failed = |error: arboard::Error| format!("It could not be copied: {error}");
        if self.clipboard.is_none() {
            self.clipboard = Some(arboard::Clipboard::new().map_err(failed)?);
        }
        let Some(clipboard) = &mut self.clipboard else { return Ok(()) };
        let set = clipboard.set();
        #[cfg(target_os = "linux")]
        let set = match secrecy {
            Secrecy::Open => set,
            Secrecy::Secret => arboard::SetExtLinux::exclude_from_history(set),
        };
        #[cfg(not(target_os = "linux"))]
        let _ = secrecy;
        set.text(text.to_owned()).map_err(failed)
    }
}

/// Whether a clipboard's history may keep it.
#[derive(Clone, Copy)]
enum Secrecy {
    Open,
    Secret,
}

/// Where logs are, else the home.
fn open_folder(home: &Home) -> Result<(), String> {
    let logs = home.root().join("logs");
    let folder = if logs.is_dir() { logs } else { home.root().to_owned() };
    open::that_detached(&folder).map_err(|error| format!("{} could not be opened: {error}", folder.display()))
}

/// Shows a notification, off the main thread: the desktop may be slow to answer.
pub(super) fn notify(runtime: &Handle, notice: super::notices::Notice) {
    let notice = Arc::new(notice);
    runtime.spawn_blocking(move || {
        let shown = notify_rust::Notification::new()
            .appname("llmtor")
            .icon("llmtor")
            .summary(notice.summary)
            .body(&notice.body)
            .show();
        if let Err(error) = shown {
            tracing::info!(%error, "a notification could not be shown");
        }
    });
}
