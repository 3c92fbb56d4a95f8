//! Where the purchase page sends the browser when all is done: a word of thanks, from this machine.
//!
//! It says the same to whoever asks, reads nothing of what is asked, and ends with the command. The port is the one that
//! backends know of the official client; if it is taken, any will do.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The official client's (protocol.md §3).
const PORT: u16 = 5139;
const PATIENCE: Duration = Duration::from_secs(2);
const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
    <title>llmtor</title><main><h1>Thank you</h1><p>The credits come to your account in a moment; the terminal tells. \
    You can close this window.</p></main></html>";

/// Answers while it lives.
pub(super) struct Landing {
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Landing {
    /// `None` if this machine has no port to give; then the purchase page says the last word.
    pub(super) async fn open() -> Option<Self> {
        let listener = match TcpListener::bind(("127.0.0.1", PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(("127.0.0.1", 0)).await.ok()?,
        };
        let port = listener.local_addr().ok()?.port();
        Some(Self { port, task: tokio::spawn(answer(listener)) })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/callback", self.port)
    }
}

async fn answer(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        // One after the other: there is one browser.
        let _ = timeout(PATIENCE, thank(stream)).await;
    }
}

/// What is asked for is of no interest, but has to be taken from whoever asks.
async fn thank(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'\r\n\
                Cache-Control: no-store\r\nConnection: close\r\n";
    let mut ignored = [0; 4096];
    let _ = stream.read(&mut ignored).await?;
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{PAGE}", PAGE.len()).as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_commands_do_not_get_in_each_other_s_way() {
        let (first, second) = (Landing::open().await.unwrap(), Landing::open().await.unwrap());
        assert_ne!(first.url(), second.url());
        assert!(first.url().starts_with("http://127.0.0.1:") && first.url().ends_with("/callback"));
    }

    #[tokio::test]
    async fn a_browser_that_comes_back_is_thanked_and_nothing_that_it_says_is_said_back() {
        let (mut browser, here) = tokio::io::duplex(8192);
        browser.write_all(b"GET /callback?secret=1 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        thank(here).await.unwrap();
        let mut said = String::new();
        browser.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with(PAGE), "{said}");
        assert!(!said.contains("secret"));
    }
}
