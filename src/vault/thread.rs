//! The vault thread: the only one that touches the file, and the group commit.
//!
//! Handles send operations through a channel and await the answer. The thread takes whatever is queued,
//! runs it in one `BEGIN IMMEDIATE … COMMIT`, and answers after the commit. It never waits for a batch to
//! fill: a lone operation is committed at once, and what arrives during that commit is the next batch.
//!
//! One operation's refusal (no token, a lost race) leaves the others alone, because an operation checks
//! before it writes. A failure of SQLite itself rolls the whole batch back and answers all of it; the
//! caches are then read anew from the file.
//!
//! Guards that are dropped without a word (a cancelled call) leave a [`Farewell`] here. It has nobody to
//! answer to, so if its batch fails it is kept and tried again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::VaultError;
use super::books::Books;
use super::withdrawals::Farewell;

/// Operations in one commit at most, to bound how long the first of them waits.
const BATCH: usize = 512;
/// How long nothing must happen before the WAL is folded into the file and cut to nothing.
const IDLE: Duration = Duration::from_secs(1);

/// Whether an operation's effect must be on the disk before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// A crash of the program keeps it, a power cut may undo it, and that does no harm.
    Relaxed,
    /// fsync before the answer.
    Synced,
}

/// The way to the vault thread. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mailbox(Sender<Message>);

enum Message {
    Operation(Box<dyn Operation>),
    Farewell(Farewell),
    Close(oneshot::Sender<Result<(), VaultError>>),
}

/// Something to do inside a commit, and somebody to tell after it.
trait Operation: Send {
    fn durability(&self) -> Durability;
    /// An error means that SQLite failed and that the batch must be rolled back.
    fn run(&mut self, books: &mut Books) -> Result<(), VaultError>;
    /// Tells the caller what came of it.
    fn answer(self: Box<Self>, commit: Result<(), VaultError>);
}

struct Call<W, T> {
    durability: Durability,
    work: Option<W>,
    outcome: Option<Result<T, VaultError>>,
    caller: oneshot::Sender<Result<T, VaultError>>,
}

impl<W, T> Operation for Call<W, T>
where
    W: FnOnce(&mut Books) -> Result<T, VaultError> + Send,
    T: Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, books: &mut Books) -> Result<(), VaultError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(books) {
            Err(error) if error.aborts_batch() => Err(error),
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, commit: Result<(), VaultError>) {
        let Self { outcome, caller, .. } = *self;
        let answer = commit.and_then(|()| outcome.unwrap_or(Err(VaultError::Closed)));
        // A caller that is gone drops the answer, and with it any guard inside, which says farewell.
        drop(caller.send(answer));
    }
}

impl Mailbox {
    /// Runs `work` inside the next commit and returns its result after that.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Books) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (caller, answer) = oneshot::channel();
        let call = Call { durability, work: Some(work), outcome: None, caller };
        self.0.send(Message::Operation(Box::new(call))).map_err(|_| VaultError::Closed)?;
        answer.await.unwrap_or(Err(VaultError::Closed))
    }

    /// Leaves a message that nobody waits for. After the vault is closed the next start does its work.
    pub(super) fn farewell(&self, farewell: Farewell) {
        drop(self.0.send(Message::Farewell(farewell)));
    }

    /// Asks the thread to finish what is queued before this, and to close the file.
    pub(super) fn close(&self) -> oneshot::Receiver<Result<(), VaultError>> {
        let (caller, answer) = oneshot::channel();
        drop(self.0.send(Message::Close(caller)));
        answer
    }
}

/// Starts the thread.
pub(super) fn spawn(books: Books) -> Result<(Mailbox, JoinHandle<()>), VaultError> {
    let (sender, receiver) = channel();
    let keeper = Keeper { books, farewells: Vec::new(), level: None, wal: Wal::Grew };
    let thread = std::thread::Builder::new().name("vault".into()).spawn(move || keeper.run(&receiver))?;
    Ok((Mailbox(sender), thread))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wal {
    Empty,
    Grew,
}

struct Keeper {
    books: Books,
    /// Not yet carried out.
    farewells: Vec<Farewell>,
    /// What `PRAGMA synchronous` was last set to.
    level: Option<Durability>,
    wal: Wal,
}

impl Keeper {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut batch: Vec<Box<dyn Operation>> = Vec::new();
        loop {
            let mut closing = None;
            match self.wait(messages) {
                Ok(first) => {
                    let mut next = Some(first);
                    while let Some(message) = next {
                        match message {
                            Message::Operation(operation) => batch.push(operation),
                            Message::Farewell(farewell) => self.farewells.push(farewell),
                            Message::Close(caller) => {
                                closing = Some(caller);
                                break;
                            }
                        }
                        next = if batch.len() < BATCH { messages.try_recv().ok() } else { None };
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.truncate_wal(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.settle_batch(&mut batch);
            if let Some(caller) = closing {
                let last = self.books.take_leave();
                self.wal = Wal::Grew;
                self.truncate_wal();
                let closed = self.books.conn.close().map_err(|(_, error)| error.into());
                if let (Some((mark, nonce)), Ok(())) = (last, &closed) {
                    mark.close(nonce);
                }
                drop(caller.send(closed));
                return;
            }
        }
    }

    /// The next message; with something left to tidy up, not for ever.
    fn wait(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        if self.wal == Wal::Empty && self.farewells.is_empty() {
            messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            messages.recv_timeout(IDLE)
        }
    }

    /// Commits the batch and answers it.
    fn settle_batch(&mut self, batch: &mut Vec<Box<dyn Operation>>) {
        if batch.is_empty() && self.farewells.is_empty() {
            return;
        }
        let mut done = 0;
        let commit = self.commit(batch, &mut done);
        if commit.is_err() {
            // Some failures end the transaction by themselves, others leave it open.
            if !self.books.conn.is_autocommit() {
                drop(self.books.conn.execute_batch("ROLLBACK"));
            }
            self.books.distrust_caches();
        } else {
            self.farewells.drain(..done);
            self.books.tell_mark();
        }
        for operation in batch.drain(..) {
            operation.answer(commit.clone());
        }
    }

    fn commit(&mut self, batch: &mut [Box<dyn Operation>], done: &mut usize) -> Result<(), VaultError> {
        let level = batch.iter().map(|operation| operation.durability()).max().unwrap_or(Durability::Relaxed);
        self.set_level(level)?;
        let before = self.books.conn.total_changes();
        self.books.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.books.refresh()?;
        for farewell in &self.farewells {
            self.books.carry_out(farewell)?;
            *done += 1;
        }
        for operation in batch {
            operation.run(&mut self.books)?;
        }
        self.books.commit()?;
        if self.books.conn.total_changes() != before {
            self.wal = Wal::Grew;
        }
        Ok(())
    }

    /// FULL syncs the WAL at each commit, which also makes every earlier commit durable; NORMAL leaves that
    /// to the next FULL commit or checkpoint. Takes effect outside a transaction only.
    fn set_level(&mut self, level: Durability) -> Result<(), VaultError> {
        if self.level != Some(level) {
            let pragma = match level {
                Durability::Relaxed => "PRAGMA synchronous = NORMAL",
                Durability::Synced => "PRAGMA synchronous = FULL",
            };
            self.books.conn.execute_batch(pragma)?;
            self.level = Some(level);
        }
        Ok(())
    }

    /// Moves the WAL into the file and cuts it to nothing, so that old page images go.
    fn truncate_wal(&mut self) {
        if self.wal == Wal::Grew {
            let folded = self.books.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = folded {
                // Nothing is lost: the WAL stays, and is tried again after the next commit.
                tracing::warn!(error = %VaultError::from(error), "the vault's log could not be folded in");
            }
            self.wal = Wal::Empty;
        }
    }
}
