//! A SQLite file with one writing thread, which groups concurrent changes into one commit, and one
//! reading thread.
//!
//! Invariants: a change's caller hears of it after the commit that holds it is on disk (WAL,
//! `synchronous = FULL`), never before. Each change runs in a savepoint of its own, so a failing one
//! takes nothing else with it. If the commit fails, all of its callers hear that.
//!
//! Other processes may have the same file open (`backend account add` beside a running server).

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

use super::home;

/// Most changes in one commit.
const BATCH: usize = 256;
/// Jobs that wait for a thread; beyond it callers wait.
const QUEUE: usize = 1024;

/// Why a store cannot answer. The text names no content.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file cannot be created with the right mode.
    #[error("database file: {0}")]
    File(#[from] std::io::Error),
    /// The file was written by a newer version of this program.
    #[error("the database has schema version {found}, this program knows {known}; use a newer program")]
    Newer {
        /// In the file.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The commit that held the change failed; nothing of it is stored.
    #[error("the database could not commit; check the disk's free space")]
    Commit,
    /// The database thread has ended.
    #[error("the database is closed")]
    Closed,
}

/// What tells a caller how its change ended, once the commit has.
type Report = Box<dyn FnOnce(bool) + Send>;
type Change = Box<dyn FnOnce(&Connection) -> Report + Send>;
type Query = Box<dyn FnOnce(&Connection) + Send>;

/// A handle; the threads end when the last clone is gone.
#[derive(Clone)]
pub(super) struct Database {
    changes: SyncSender<Change>,
    queries: SyncSender<Query>,
}

impl Database {
    /// Opens or creates `path` (0600) and brings its schema up to date. `migrations[n]` takes version n to n + 1.
    pub(super) fn open(path: &Path, migrations: &[&str]) -> Result<Self, StoreError> {
        home::ensure_private_file(path)?;
        let mut writer = connect(path)?;
        migrate(&mut writer, migrations)?;
        let reader = connect(path)?;
        let (changes, pending) = sync_channel(QUEUE);
        let (queries, questions) = sync_channel::<Query>(QUEUE);
        std::thread::Builder::new().name("store-write".into()).spawn(move || write(&mut writer, &pending))?;
        std::thread::Builder::new()
            .name("store-read".into())
            .spawn(move || questions.iter().for_each(|question| question(&reader)))?;
        Ok(Self { changes, queries })
    }

    /// Runs `change` in a transaction; its result is here once it is on disk. An error rolls it back.
    pub(super) async fn change<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        submit(&self.changes, report_to(sender, change)).await?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Self::change`], for callers outside async code: blocks.
    pub(super) fn change_blocking<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (sender, receiver) = sync_channel(1);
        let job: Change = Box::new(move |connection| {
            let result = in_savepoint(connection, change);
            Box::new(move |committed| {
                let _ = sender.send(settled(result, committed));
            })
        });
        self.changes.send(job).map_err(|_| StoreError::Closed)?;
        receiver.recv().map_err(|_| StoreError::Closed)?
    }

    /// Reads the newest committed state.
    pub(super) async fn query<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Query = Box::new(move |connection| {
            let _ = sender.send(query(connection));
        });
        submit(&self.queries, job).await?;
        Ok(receiver.await.map_err(|_| StoreError::Closed)??)
    }
}

/// Hands a job over without blocking the executor when the queue is full.
async fn submit<J: Send + 'static>(queue: &SyncSender<J>, job: J) -> Result<(), StoreError> {
    use std::sync::mpsc::TrySendError;
    match queue.try_send(job) {
        Ok(()) => Ok(()),
        Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        Err(TrySendError::Full(job)) => {
            let queue = queue.clone();
            let sent = tokio::task::spawn_blocking(move || queue.send(job)).await;
            sent.map_err(|_| StoreError::Closed)?.map_err(|_| StoreError::Closed)
        }
    }
}

fn report_to<T, F>(sender: oneshot::Sender<Result<T, StoreError>>, change: F) -> Change
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    Box::new(move |connection| {
        let result = in_savepoint(connection, change);
        Box::new(move |committed| {
            let _ = sender.send(settled(result, committed));
        })
    })
}

fn settled<T>(result: rusqlite::Result<T>, committed: bool) -> Result<T, StoreError> {
    match result {
        Ok(value) if committed => Ok(value),
        Ok(_) => Err(StoreError::Commit),
        Err(error) => Err(error.into()),
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.execute_batch("SAVEPOINT change")?;
    let result = change(connection);
    if result.is_err() {
        connection.execute_batch("ROLLBACK TO change")?;
    }
    connection.execute_batch("RELEASE change")?;
    result
}

/// The writing thread: takes whatever has come in meanwhile, up to [`BATCH`], into one commit.
fn write(connection: &mut Connection, pending: &Receiver<Change>) {
    while let Ok(first) = pending.recv() {
        let batch = std::iter::once(first).chain(pending.try_iter().take(BATCH - 1));
        match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => {
                let reports: Vec<Report> = batch.map(|change| change(&transaction)).collect();
                let committed = transaction.commit().inspect_err(complain).is_ok();
                for report in reports {
                    report(committed);
                }
            }
            Err(error) => {
                // Dropping the changes tells their callers that the database is closed to them.
                complain(&error);
                drop(batch.collect::<Vec<_>>());
            }
        }
    }
}

fn complain(error: &rusqlite::Error) {
    tracing::error!(code = ?error.sqlite_error_code(), "the database could not commit");
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A wiped answer or session must not linger in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = migrations.get(done..) else {
        return Err(StoreError::Newer { found, known });
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[&str] = &["CREATE TABLE t (v INTEGER NOT NULL UNIQUE)"];

    #[tokio::test]
    async fn a_failing_change_takes_nothing_else_of_its_batch_with_it() {
        let home = tempfile::tempdir().unwrap();
        let database = Database::open(&home.path().join("t.db"), SCHEMA).unwrap();
        let insert = |value: i64| {
            let database = database.clone();
            async move { database.change(move |c| c.execute("INSERT INTO t VALUES (?)", [value])).await }
        };
        let (first, second, repeat) = tokio::join!(insert(1), insert(2), insert(1));
        assert_eq!(first.unwrap() + second.unwrap(), 2);
        assert!(matches!(repeat, Err(StoreError::Sqlite(_))));
        let sum: i64 =
            database.query(|c| c.query_row("SELECT sum(v) FROM t", [], |row| row.get(0))).await.unwrap();
        assert_eq!(sum, 3);
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("t.db");
        drop(Database::open(&path, &[SCHEMA[0], "CREATE TABLE u (v)"]).unwrap());
        assert!(matches!(Database::open(&path, SCHEMA), Err(StoreError::Newer { found: 2, known: 1 })));
    }
}
