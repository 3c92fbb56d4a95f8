//! The socket itself: paths of any length, one owner, one operation a connection.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::message::Event;
use super::{ControlError, Operation, Perform, Progress, Refusal, RefusalKind, Report};

/// The longest line, bytes. Keys files are the largest thing that is sent.
const LINE_LIMIT: u64 = 16 << 20;
/// How long a connection may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of descriptors, say).
const PAUSE: Duration = Duration::from_millis(50);

/// A path to the socket short enough for `sun_path` (108 bytes), however long the home's own path is.
struct ShortPath {
    path: PathBuf,
    /// Keeps the descriptor in `path` open.
    _directory: File,
}

impl ShortPath {
    fn of(socket: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = File::open(parent)?;
        let through = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        let path = if through.exists() { through.join(name) } else { socket.to_owned() };
        Ok(Self { path, _directory: directory })
    }
}

/// The daemon's side. Removes the socket when dropped.
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
    owner: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: the next daemon replaces a left-over socket.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Server {
    /// Listens on `socket`, replacing one left over. The caller holds the home's lock, so nobody else listens there.
    pub fn bind(socket: &Path) -> Result<Self, ControlError> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let short = ShortPath::of(socket)?;
        let listener = UnixListener::bind(&short.path)?;
        std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(socket)?.uid();
        Ok(Self { listener, socket: socket.to_owned(), owner })
    }

    /// Serves operations until `stop`; those in progress are then cancelled.
    pub async fn serve<P: Perform>(
        self,
        performer: Arc<P>,
        stop: CancellationToken,
    ) -> Result<(), ControlError> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0) {
                            let performer = Arc::clone(&performer);
                            connections.spawn(async move { converse(stream, performer.as_ref()).await });
                        } else {
                            tracing::warn!("refused a stranger at the control socket");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket could not accept");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        connections.shutdown().await;
        Ok(())
    }
}

/// One connection: one operation. A peer that goes away cancels it.
async fn converse<P: Perform>(stream: UnixStream, performer: &P) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let Ok(Some(line)) = tokio::time::timeout(PATIENCE, read_line(&mut reader)).await else { return };
    let Ok(operation) = serde_json::from_slice::<Operation>(&line) else {
        let message = "the daemon does not know this operation; is it another version of llmtor?";
        let _ = write_event(
            &mut writer,
            &Event::Failed(
                Refusal::new(RefusalKind::Usage, message)
                    .advise("it may be another version of llmtor: stop the daemon and start it again"),
            ),
        )
        .await;
        return;
    };
    drop(zeroize::Zeroizing::new(line));
    let (sender, mut progress) = watch::channel(None);
    let mut work = std::pin::pin!(performer.perform(operation, sender));
    let mut telling = true;
    let last = loop {
        tokio::select! {
            biased;
            result = &mut work => break result,
            changed = progress.changed(), if telling => {
                telling = changed.is_ok();
                let latest = progress.borrow_and_update().clone();
                if let Some(latest) = latest
                    && write_event(&mut writer, &Event::Progress(latest)).await.is_err()
                {
                    return;
                }
            }
            // Nothing more is expected: end of file, or an error, is a hang-up.
            _ = reader.read_u8() => return,
        }
    };
    // The peer may be gone; its operation is done all the same.
    let _ =
        write_event(&mut writer, &last.map_or_else(Event::Failed, |report| Event::Done(Box::new(report))))
            .await;
}

/// Asks the daemon listening on `socket`; `progress` is told how far it is.
pub async fn ask(
    socket: &Path,
    operation: &Operation,
    progress: &watch::Sender<Option<Progress>>,
) -> Result<Result<Report, Refusal>, ControlError> {
    let short = ShortPath::of(socket).map_err(ControlError::NoDaemon)?;
    let stream = UnixStream::connect(&short.path).await.map_err(ControlError::NoDaemon)?;
    let (reader, mut writer) = stream.into_split();
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(operation).map_err(io::Error::other)?);
    line.push(b'\n');
    writer.write_all(&line).await?;
    let mut reader = BufReader::new(reader);
    loop {
        let line = read_line(&mut reader).await.ok_or(ControlError::BrokenOff)?;
        match serde_json::from_slice(&line).map_err(|_| ControlError::BrokenOff)? {
            Event::Progress(latest) => {
                progress.send_replace(Some(latest));
            }
            Event::Done(report) => return Ok(Ok(*report)),
            Event::Failed(refusal) => return Ok(Err(refusal)),
        }
    }
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LINE_LIMIT).read_until(b'\n', &mut line).await.ok()?;
    line.ends_with(b"\n").then_some(line)
}

async fn write_event(writer: &mut OwnedWriteHalf, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event).map_err(io::Error::other)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::super::message::{KeysReport, OtherAccount, SecretText};
    use super::*;

    /// Tells progress, then waits for ever on `Account` and reports on anything else.
    struct Fake {
        cancelled: CancellationToken,
    }

    impl Perform for Fake {
        async fn perform(
            &self,
            operation: Operation,
            progress: super::super::ProgressSender,
        ) -> Result<Report, Refusal> {
            progress.send_replace(Some(Progress::Minted { done: 1, total: 2 }));
            match operation {
                Operation::Account => {
                    let _guard = self.cancelled.clone().drop_guard();
                    std::future::pending().await
                }
                Operation::KeysList => Ok(Report::KeysList(KeysReport::default())),
                Operation::Login { session, .. } => {
                    Err(Refusal::new(RefusalKind::Usage, session.0.expose().len().to_string()))
                }
                _ => Err(Refusal::new(RefusalKind::NoCredit, "none").advise("buy")),
            }
        }
    }

    struct Running {
        socket: PathBuf,
        stop: CancellationToken,
        cancelled: CancellationToken,
        task: tokio::task::JoinHandle<Result<(), ControlError>>,
        _home: tempfile::TempDir,
    }

    fn running(socket: impl FnOnce(&Path) -> PathBuf) -> Running {
        let home = tempfile::tempdir().unwrap();
        let socket = socket(home.path());
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let (stop, cancelled) = (CancellationToken::new(), CancellationToken::new());
        let server = Server::bind(&socket).unwrap();
        let fake = Arc::new(Fake { cancelled: cancelled.clone() });
        let task = tokio::spawn(server.serve(fake, stop.clone()));
        Running { socket, stop, cancelled, task, _home: home }
    }

    #[tokio::test]
    async fn an_operation_is_answered_with_its_report_or_refusal() {
        let daemon = running(|home| home.join("control.sock"));
        let (progress, watched) = watch::channel(None);
        let report = ask(&daemon.socket, &Operation::KeysList, &progress).await.unwrap();
        assert_eq!(report, Ok(Report::KeysList(KeysReport::default())));
        let refusal = ask(&daemon.socket, &Operation::Tokens, &progress).await.unwrap();
        assert_eq!(refusal, Err(Refusal::new(RefusalKind::NoCredit, "none").advise("buy")));
        let session = SecretText(crate::secret::Secret::new("four".into()));
        let refusal =
            ask(&daemon.socket, &Operation::Login { session, other: OtherAccount::Refuse }, &progress)
                .await
                .unwrap();
        assert_eq!(refusal.unwrap_err().message, "4");
        drop(watched);
        daemon.stop.cancel();
        daemon.task.await.unwrap().unwrap();
        assert!(!daemon.socket.exists());
    }

    #[tokio::test]
    async fn a_home_with_a_path_longer_than_a_socket_address_works() {
        let daemon = running(|home| home.join("d".repeat(100)).join("e".repeat(100)).join("control.sock"));
        let (progress, _watched) = watch::channel(None);
        assert!(ask(&daemon.socket, &Operation::KeysList, &progress).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_only() {
        let daemon = running(|home| home.join("control.sock"));
        assert_eq!(std::fs::metadata(&daemon.socket).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn hanging_up_cancels_the_operation() {
        let daemon = running(|home| home.join("control.sock"));
        let (progress, mut watched) = watch::channel(None);
        let socket = daemon.socket.clone();
        let asking = tokio::spawn(async move { ask(&socket, &Operation::Account, &progress).await });
        watched.changed().await.unwrap();
        asking.abort();
        daemon.cancelled.cancelled().await;
    }

    #[tokio::test]
    async fn garbage_is_refused_and_silence_is_not_answered() {
        let daemon = running(|home| home.join("control.sock"));
        let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
        stream.write_all(b"{\"op\":\"read_every_token\"}\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\"event\":\"failed\""), "{answer}");
    }

    #[tokio::test]
    async fn without_a_daemon_there_is_nobody_to_ask() {
        let home = tempfile::tempdir().unwrap();
        let (progress, _watched) = watch::channel(None);
        let asked = ask(&home.path().join("control.sock"), &Operation::Tokens, &progress).await;
        assert!(matches!(asked, Err(ControlError::NoDaemon(_))));
    }
}
