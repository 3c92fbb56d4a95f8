//! The icon itself, and the event loop on the main thread: the systems' own rules want both there.
//!
//! On Linux the loop is a channel, and the icon is an item of the desktop's notifier over D-Bus. Elsewhere it is `tao`'s.

use std::time::Instant;

use tokio::runtime::Handle;
use tray_icon::menu::{CheckMenuItem, IsMenuItem, Menu, MenuEvent, MenuItem, PredefinedMenuItem};
use tray_icon::{Icon, TrayIcon, TrayIconBuilder};

use super::autostart::Autostart;
use super::deeds::{self, Deeds};
use super::notices::Notices;
use super::view::{Entry, Row, View};
use super::{DesktopError, Message, Seat, icon, watch};
use crate::control::message::{State, StatusReport};

/// Whether there is a desktop session at all, before anything is started for its sake.
pub async fn check() -> Result<(), DesktopError> {
    #[cfg(target_os = "linux")]
    if let Err(error) = zbus::Connection::session().await {
        return Err(DesktopError::NoDesktop(error.to_string()));
    }
    Ok(())
}

/// Shows the icon until the user quits. Must be called on the main thread; `runtime` does everything that waits.
#[cfg(not(any(target_os = "macos", windows)))]
pub fn run(seat: Seat, runtime: &Handle) -> Result<(), DesktopError> {
    use std::sync::mpsc;

    let _alone = super::alone(&seat.home)?;
    let (sender, messages) = mpsc::channel();
    let send = move |message| sender.send(message).map_err(drop);
    #[cfg(target_os = "linux")]
    runtime.block_on(panel::look_for(send.clone()))?;
    let mut shown = Shown::begin(seat, runtime, send)?;
    loop {
        let message = match shown.due() {
            None => messages.recv().ok(),
            Some(due) => match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    shown.look();
                    continue;
                }
                received => received.ok(),
            },
        };
        // The watcher lives as long as the runtime, and it has a sender.
        let Some(message) = message else { return Ok(()) };
        if shown.take(message)? == Next::Quit {
            return Ok(());
        }
    }
}

/// Shows the icon until the user quits. Must be called on the main thread; `runtime` does everything that waits.
#[cfg(any(target_os = "macos", windows))]
pub fn run(seat: Seat, runtime: &Handle) -> Result<(), DesktopError> {
    use tao::event::{Event, StartCause};
    use tao::event_loop::{ControlFlow, EventLoopBuilder};
    use tao::platform::run_return::EventLoopExtRunReturn as _;

    let _alone = super::alone(&seat.home)?;
    let mut events = EventLoopBuilder::<Message>::with_user_event().build();
    // Menus call from threads of their own.
    let proxy = std::sync::Arc::new(std::sync::Mutex::new(events.create_proxy()));
    let send = move |message| {
        let proxy = proxy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        proxy.send_event(message).map_err(drop)
    };
    let mut seat = Some(seat);
    let mut shown: Option<Shown<_>> = None;
    let mut result = Ok(());
    events.run_return(|event, _, flow| {
        let step = match event {
            // Not before: macOS wants its application to run first.
            Event::NewEvents(StartCause::Init) => match seat.take() {
                Some(seat) => Shown::begin(seat, runtime, send.clone()).map(|begun| {
                    shown = Some(begun);
                    Next::Wait
                }),
                None => Ok(Next::Wait),
            },
            Event::NewEvents(StartCause::ResumeTimeReached { .. }) => {
                if let Some(shown) = &mut shown {
                    shown.look();
                }
                Ok(Next::Wait)
            }
            Event::UserEvent(message) => match &mut shown {
                Some(shown) => shown.take(message),
                None => Ok(Next::Wait),
            },
            _ => Ok(Next::Wait),
        };
        *flow = match step {
            Ok(Next::Wait) => {
                shown.as_ref().and_then(Shown::due).map_or(ControlFlow::Wait, ControlFlow::WaitUntil)
            }
            Ok(Next::Quit) => ControlFlow::Exit,
            Err(error) => {
                result = Err(error);
                ControlFlow::Exit
            }
        };
    });
    result
}

#[derive(PartialEq, Eq)]
enum Next {
    Wait,
    Quit,
}

/// What stands in the panel.
struct Shown<S> {
    tray: TrayIcon,
    state: State,
    view: View,
    report: Option<Box<StatusReport>>,
    said: Option<String>,
    autostart: Autostart,
    notices: Notices,
    deeds: Deeds<S>,
    runtime: Handle,
}

impl<S: Fn(Message) -> Result<(), ()> + Clone + Send + Sync + 'static> Shown<S> {
    fn begin(seat: Seat, runtime: &Handle, send: S) -> Result<Self, DesktopError> {
        let autostart = Autostart::new(seat.named_home.as_ref());
        let view = View::of(None, None);
        let clicked = send.clone();
        MenuEvent::set_event_handler(Some(move |event: MenuEvent| {
            let _ = clicked(Message::Clicked(event.id.0));
        }));
        let tray = TrayIconBuilder::new()
            .with_id("llmtor")
            .with_title("llmtor")
            .with_tooltip(&view.tooltip)
            .with_icon(drawn(view.state)?)
            .with_menu(Box::new(menu(&view, &autostart)?))
            .build()
            .map_err(|error| DesktopError::NoDesktop(error.to_string()))?;
        runtime.spawn(watch::watch(seat.home.clone(), send.clone()));
        Ok(Self {
            tray,
            state: view.state,
            view,
            report: None,
            said: None,
            autostart,
            notices: Notices::default(),
            deeds: Deeds::new(seat, runtime.clone(), send),
            runtime: runtime.clone(),
        })
    }

    fn take(&mut self, message: Message) -> Result<Next, DesktopError> {
        match message {
            Message::Status(report) => {
                self.report = report;
                self.said = None;
                self.look();
                self.show()?;
            }
            Message::Said(said) => {
                self.said = Some(said);
                self.show()?;
            }
            Message::Clicked(id) => match Entry::of(&id) {
                Some(Entry::Quit) => return Ok(Next::Quit),
                Some(Entry::StartAtLogin) => {
                    self.said = self.autostart.switch().err();
                    self.redraw()?;
                }
                Some(entry) => self.deeds.perform(entry, self.report.as_deref()),
                None => {}
            },
        }
        Ok(Next::Wait)
    }

    /// Tells what is to be told by now.
    fn look(&mut self) {
        for notice in self.notices.of(self.report.as_deref(), Instant::now()) {
            deeds::notify(&self.runtime, notice);
        }
    }

    /// When to look, if nothing happens before.
    fn due(&self) -> Option<Instant> {
        self.notices.due()
    }

    fn show(&mut self) -> Result<(), DesktopError> {
        let view = View::of(self.report.as_deref(), self.said.as_deref());
        if view == self.view {
            return Ok(());
        }
        self.view = view;
        self.redraw()
    }

    fn redraw(&mut self) -> Result<(), DesktopError> {
        let failed = |error: tray_icon::Error| DesktopError::Icon(error.to_string());
        self.view = View::of(self.report.as_deref(), self.said.as_deref());
        if self.view.state != self.state {
            self.state = self.view.state;
            self.tray.set_icon(Some(drawn(self.state)?)).map_err(failed)?;
        }
        self.tray.set_tooltip(Some(&self.view.tooltip)).map_err(failed)?;
        self.tray.set_menu(Some(Box::new(menu(&self.view, &self.autostart)?)));
        Ok(())
    }
}

fn drawn(state: State) -> Result<Icon, DesktopError> {
    Icon::from_rgba(icon::rgba(state, icon::SIZE), icon::SIZE, icon::SIZE)
        .map_err(|error| DesktopError::Icon(error.to_string()))
}

fn menu(view: &View, autostart: &Autostart) -> Result<Menu, DesktopError> {
    let failed = |error: tray_icon::menu::Error| DesktopError::Icon(error.to_string());
    let menu = Menu::new();
    // An ampersand would be taken for the mark of a shortcut.
    let text = |text: &str| text.replace('&', "&&");
    for row in &view.rows {
        let item: Box<dyn IsMenuItem> = match row {
            Row::Line(line) => Box::new(MenuItem::new(text(line), false, None)),
            Row::Separator => Box::new(PredefinedMenuItem::separator()),
            Row::Entry(entry @ Entry::StartAtLogin) => {
                Box::new(CheckMenuItem::with_id(entry.id(), entry.label(), true, autostart.is_on(), None))
            }
            Row::Entry(entry) => Box::new(MenuItem::with_id(entry.id(), entry.label(), true, None)),
        };
        menu.append(&*item).map_err(failed)?;
    }
    Ok(menu)
}

/// Whether there is a panel that shows icons.
#[cfg(target_os = "linux")]
mod panel {
    use super::super::{DesktopError, Message};

    /// Who collects the icons; panels are it, or listen to it.
    const WATCHER: &str = "org.kde.StatusNotifierWatcher";

    /// Says so if nobody shows icons yet; the icon appears when somebody does.
    pub(super) async fn look_for(
        send: impl Fn(Message) -> Result<(), ()> + Send + 'static,
    ) -> Result<(), DesktopError> {
        let failed = |error: zbus::Error| DesktopError::NoDesktop(error.to_string());
        let bus = zbus::Connection::session().await.map_err(failed)?;
        let name = WATCHER.try_into().map_err(|_| DesktopError::NoDesktop(WATCHER.into()))?;
        let proxy = zbus::fdo::DBusProxy::new(&bus).await.map_err(failed)?;
        let is_there = proxy.name_has_owner(name).await.unwrap_or(false);
        if !is_there {
            tracing::warn!(
                "no panel shows tray icons ({WATCHER} is not on the session bus); the icon appears when one does. GNOME needs \
                 the extension “AppIndicator and KStatusNotifierItem Support”"
            );
            let _ = send(Message::Said("No panel showed icons when this one was made.".into()));
        }
        Ok(())
    }
}
