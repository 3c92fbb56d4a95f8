//! A browser that is driven over a pipe: it opens no port, which every account of this machine could find and drive, too.
//!
//! ```text
//! browser  ── descriptors 3 and 4, JSON texts that end in NUL ──  here  ── WebSocket on loopback ──  chromiumoxide
//! ```
//!
//! The library speaks WebSocket alone, so there is one, in this process from end to end. Its listener lets in whoever names
//! its path, which is random and told to nobody, and is closed once somebody has.
//!
//! The browser ends when its end of the pipe does, so that one whose llmtor was killed does not stay.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use async_tungstenite::tokio::accept_hdr_async;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use command_fds::{CommandFdExt as _, FdMapping};
use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

/// Where a browser reads what it is told, and where it answers.
const TOLD: i32 = 3;
const ANSWERS: i32 = 4;
/// What ends a text.
const END: u8 = 0;

/// A browser that was started; killed when dropped.
pub(super) struct Piped {
    child: Child,
    /// For chromiumoxide.
    url: String,
}

impl Piped {
    /// Starts it with `profile`, which `arguments` name, too.
    pub(super) async fn launch(executable: &Path, profile: &Path, arguments: &[String]) -> io::Result<Self> {
        let ((told, tell), (hear, answers)) = (io::pipe()?, io::pipe()?);
        let mut command = super::command(executable, profile);
        command.arg("--remote-debugging-pipe").args(arguments);
        command
            .fd_mappings(vec![
                FdMapping { parent_fd: told.into(), child_fd: TOLD },
                FdMapping { parent_fd: answers.into(), child_fd: ANSWERS },
            ])
            .map_err(io::Error::other)?;
        let child = command.spawn()?;
        // It holds the browser's ends of the pipes: kept, they would never be seen to end.
        drop(command);
        let tell = pipe::Sender::from_owned_fd(tell.into())?;
        let hear = pipe::Receiver::from_owned_fd(hear.into())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let path = format!("/{}", uuid::Uuid::new_v4().simple());
        let url = format!("ws://{}{path}", listener.local_addr()?);
        tokio::spawn(async move {
            if let Err(error) = bridge(listener, path, tell, hear).await {
                tracing::debug!(kind = %error.kind(), "the browser is no longer driven");
            }
        });
        Ok(Self { child, url })
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

async fn bridge(
    listener: TcpListener,
    path: String,
    mut tell: pipe::Sender,
    hear: pipe::Receiver,
) -> io::Result<()> {
    let socket = loop {
        let (stream, _) = listener.accept().await?;
        if let Some(socket) = shaken(stream, &path).await {
            break socket;
        }
    };
    drop(listener);
    let (mut to_library, mut from_library) = socket.split();
    let telling = async {
        while let Some(Ok(message)) = from_library.next().await {
            if let Message::Text(text) = message {
                tell.write_all(text.as_bytes()).await?;
                tell.write_all(&[END]).await?;
            }
        }
        Ok(())
    };
    let hearing = async {
        let mut hear = BufReader::new(hear);
        loop {
            let mut text = Vec::new();
            if hear.read_until(END, &mut text).await? == 0 {
                return Ok(());
            }
            text.pop_if(|last| *last == END);
            let text = String::from_utf8(text).map_err(io::Error::other)?;
            to_library.send(Message::text(text)).await.map_err(io::Error::other)?;
        }
    };
    tokio::select! {
        ended = telling => ended,
        ended = hearing => ended,
    }
}

/// The connection, if whoever is there knows `path`.
async fn shaken(
    stream: TcpStream,
    path: &str,
) -> Option<async_tungstenite::WebSocketStream<async_tungstenite::tokio::TokioAdapter<TcpStream>>> {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let check = |request: &Request, response: Response| {
        if request.uri().path() == path { Ok(response) } else { Err(ErrorResponse::new(None)) }
    };
    accept_hdr_async(stream, check).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_goes_through_both_ways_and_a_stranger_does_not_get_in() {
        let room = tempfile::tempdir().unwrap();
        // Answers each text with itself.
        let program = room.path().join("echo");
        std::fs::write(&program, "#!/bin/sh\nexec cat <&3 >&4\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut piped = Piped::launch(&program, room.path(), &[]).await.unwrap();
        let stranger = piped.url().rsplit_once('/').unwrap().0.to_owned() + "/0123";
        assert!(async_tungstenite::tokio::connect_async(&stranger).await.is_err());
        let (mut socket, _) = async_tungstenite::tokio::connect_async(piped.url()).await.unwrap();
        for text in ["one", "", "grüße"] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
        }
        assert!(async_tungstenite::tokio::connect_async(piped.url()).await.is_err(), "one is enough");
        drop(socket);
        assert!(piped.wait().await.unwrap().success(), "it ends with its pipe");
    }
}
