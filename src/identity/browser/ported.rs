//! A browser that is driven over DevTools' port, where there are no pipes that it could inherit.
//!
//! While the window is open, other programs and accounts of this machine can find the port, and drive the window too.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;

const STEP: Duration = Duration::from_millis(50);
/// What the browser writes into its profile once it listens: the port, and the path on it.
const PORT_FILE: &str = "DevToolsActivePort";

/// A browser that was started; killed when dropped.
pub(super) struct Ported {
    child: Child,
    /// For chromiumoxide.
    url: String,
}

impl Ported {
    /// Starts it with `profile`, which `arguments` name, too.
    pub(super) async fn launch(executable: &Path, profile: &Path, arguments: &[String]) -> io::Result<Self> {
        let file = profile.join(PORT_FILE);
        let mut command = super::command(executable, profile);
        command.arg("--remote-debugging-port=0").args(arguments);
        let mut child = command.spawn()?;
        loop {
            if let Ok(text) = std::fs::read_to_string(&file)
                && let Some((port, path)) = text.trim_end().split_once('\n')
            {
                return Ok(Self { child, url: format!("ws://127.0.0.1:{port}{path}") });
            }
            if child.try_wait()?.is_some() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// What [`chromiumoxide::Browser::connect_with_config`] takes.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Until it has ended.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it.
    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}
