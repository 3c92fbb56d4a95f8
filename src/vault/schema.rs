//! The file: its format, how it is made, recognised and opened.
//!
//! | table | holds | wiped when |
//! | --- | --- | --- |
//! | `issuances` | what unblinds a signature that is not here yet | finalized, abandoned |
//! | `tokens` | token and signature, the public key that verifies them, state, and for a presented one the request's digest and the abuse tokens it went with | settled |
//! | `abuse_issuances`, `abuse_tokens` | the same for abuse tokens | finalized, abandoned; superseded and no row of `tokens` refers to it |
//! | `counters` | spent, per model, ever | never |
//! | `habits` | how much a model is used, smoothed; sealed | never |
//! | `notes` | what the identity plane must remember across a restart, such as its next top-up; sealed | replaced |
//! | `losses` | credits that no token came of: model, when it was found, how many, why | the user has them forgotten |
//! | `meta` | the key check; lineage, generation, custody and the rest after a take-over ([`super::custody`]); what the mark is compared with ([`super::mark`]); models whose answers do not say rightly when they were made | never, or replaced |
//!
//! Deliberately absent: any column that could name an account, a session, a RequestID beside a token, or
//! the time of a spend that was answered; a token that is presented or in doubt has the second of it (`presented_at`), which the
//! term counts from, until it is settled or the term is over. Row ids are random, so that they do not tell the order of issuance. Token bytes,
//! signatures and blinding secrets are in `sealed` only. `key` is the fingerprint of a public key, the same
//! for every user of the model.
//!
//! There is no index over `permanent` and `transient`: it would cost each call two pages in the commit that waits
//! for the disk, and only the rare sweep of superseded abuse tokens asks who refers to them.
//!
//! A file is made under another name, closed, synced and renamed into place: whatever moment the power
//! fails at, `vault.db` is either absent or whole. Before SQLite touches an existing file, its header is
//! read by hand; a foreign, newer or damaged one is left exactly as it was found.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::VaultError;
use super::sealing::{Digester, Sealer, key_check, keys_fit};

/// `application_id` of the file: "LLMT".
const APPLICATION_ID: u32 = 0x4c4c_4d54;
/// Each step brings the file from the format of its index to the next; `user_version` counts them.
const MIGRATIONS: &[&str] = &[FORMAT_1, FORMAT_2];

const FORMAT_1: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE issuances (
    request_id TEXT PRIMARY KEY,
    model      TEXT NOT NULL,
    key        BLOB NOT NULL CHECK (length(key) = 32),
    first_sent INTEGER,
    readiness  TEXT NOT NULL CHECK (readiness IN ('now', 'delayed')),
    sealed     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE abuse_issuances (
    kind   TEXT NOT NULL CHECK (kind IN ('permanent', 'transient')),
    epoch  INTEGER NOT NULL CHECK (kind = 'transient' OR epoch = 0),
    key    BLOB NOT NULL CHECK (length(key) = 32),
    sealed BLOB NOT NULL,
    PRIMARY KEY (kind, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE abuse_tokens (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('permanent', 'transient')),
    epoch      INTEGER NOT NULL CHECK (kind = 'transient' OR epoch = 0),
    key        BLOB NOT NULL CHECK (length(key) = 32),
    superseded INTEGER NOT NULL CHECK (superseded IN (0, 1)),
    sealed     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX abuse_tokens_current ON abuse_tokens (kind) WHERE superseded = 0;

CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY,
    model        TEXT NOT NULL,
    key          BLOB NOT NULL CHECK (length(key) = 32),
    state        TEXT NOT NULL CHECK (state IN ('available', 'reserved', 'presented', 'in_doubt', 'refused')),
    not_before   INTEGER NOT NULL,
    maybe_spent  INTEGER NOT NULL DEFAULT 0 CHECK (maybe_spent IN (0, 1)),
    owner        BLOB CHECK (length(owner) = 16),
    digest       BLOB CHECK (length(digest) = 32),
    presented_at INTEGER,
    doubt        TEXT CHECK (doubt IN ('unknown', 'undelivered')),
    permanent    INTEGER REFERENCES abuse_tokens (id),
    transient    INTEGER REFERENCES abuse_tokens (id),
    sealed       BLOB NOT NULL,
    CHECK ((owner IS NOT NULL) = (state IN ('reserved', 'presented'))),
    CHECK ((digest IS NOT NULL) = (state IN ('presented', 'in_doubt'))),
    CHECK ((presented_at IS NOT NULL) = (digest IS NOT NULL)),
    CHECK (doubt IS NOT NULL OR state <> 'in_doubt'),
    CHECK (doubt IS NULL OR digest IS NOT NULL),
    CHECK ((permanent IS NULL) = (transient IS NULL)),
    CHECK (permanent IS NULL OR digest IS NOT NULL)
) STRICT;
CREATE INDEX tokens_in_doubt ON tokens (digest) WHERE state = 'in_doubt';

CREATE TABLE counters (model TEXT PRIMARY KEY, spent INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

const FORMAT_2: &str = "
CREATE TABLE habits (model TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE losses (
    id      INTEGER PRIMARY KEY,
    model   TEXT NOT NULL,
    found   INTEGER NOT NULL,
    credits INTEGER NOT NULL CHECK (credits > 0),
    reason  TEXT NOT NULL CHECK (reason IN ('lost', 'unclear', 'given_up'))
) STRICT;
INSERT INTO meta (name, value)
    VALUES ('lineage', randomblob(16)), ('generation', x'00000000'), ('custody', CAST('ours' AS BLOB));
";

/// Opens `path`, making it if it is not there, and brings it to the newest format.
pub(super) fn open(path: &Path, sealer: &Sealer, digester: &Digester) -> Result<Connection, VaultError> {
    if !path.try_exists()? {
        if log_of(path).try_exists()? {
            return Err(VaultError::Orphaned);
        }
        create(path, sealer, digester)?;
    }
    recognise(path)?;
    keep_private(path)?;
    let log = log_of(path);
    let had_log = log.try_exists()?;
    let opened = open_recognised(path, sealer, digester);
    if opened.is_err() && !had_log && fs::metadata(&log).is_ok_and(|found| found.len() == 0) {
        // Looking into the file made it. If it cannot be removed, an empty log does no harm either.
        drop(fs::remove_file(&log));
    }
    let mut conn = opened?;
    migrate(&mut conn)?;
    Ok(conn)
}

/// Opens a file with our header and checks that it is whole and made with these keys; writes nothing.
fn open_recognised(path: &Path, sealer: &Sealer, digester: &Digester) -> Result<Connection, VaultError> {
    let conn = connect(path)?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(VaultError::Corrupt);
    }
    let stored: Option<Vec<u8>> =
        conn.query_row("SELECT value FROM meta WHERE name = 'key check'", [], |row| row.get(0)).optional()?;
    if !keys_fit(sealer, digester, &stored.ok_or(VaultError::Corrupt)?) {
        return Err(VaultError::WrongKey);
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(conn)
}

/// Makes the file under another name and moves it into place when it is whole.
fn create(path: &Path, sealer: &Sealer, digester: &Digester) -> Result<(), VaultError> {
    let draft = sibling(path, ".new");
    // Left by a start that did not get this far; it never held a token.
    for leftover in [draft.clone(), sibling(&draft, "-wal"), sibling(&draft, "-shm")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    private_file().create_new(true).open(&draft)?;
    let mut conn = connect(&draft)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate(&mut conn)?;
    conn.execute("INSERT INTO meta (name, value) VALUES ('key check', ?1)", [key_check(sealer, digester)])?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    conn.close().map_err(|(_, error)| error)?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(directory) if cfg!(unix) && !directory.as_os_str().is_empty() => {
            fs::File::open(directory)?.sync_all()?;
        }
        _ => {}
    }
    Ok(())
}

/// Reads the first 100 bytes ("The SQLite Database File Format", §1.3): is this a vault, of a format known here?
fn recognise(path: &Path) -> Result<(), VaultError> {
    let mut header = [0u8; 100];
    fs::File::open(path)?.read_exact(&mut header).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => VaultError::Corrupt,
        _ => VaultError::from(error),
    })?;
    let number = |at: usize| {
        header.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(VaultError::Corrupt);
    }
    if number(68) != APPLICATION_ID {
        return Err(VaultError::Foreign);
    }
    known_format(number(60))
}

fn known_format(found: u32) -> Result<(), VaultError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known { Err(VaultError::Newer { found, known }) } else { Ok(()) }
}

fn connect(path: &Path) -> Result<Connection, VaultError> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, access)?;
    // Until the file is known to be ours and whole, closing must not write to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Exclusive: no other process can look in or interfere, and the WAL index stays in our memory (no -shm).
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "foreign_keys", "ON")?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    // Random row ids touch random pages: 8 MiB hold about 20,000 tokens.
    conn.pragma_update(None, "cache_size", -8192)?;
    // 16 MiB instead of 4: a page that changes often is then folded in once, not many times; idle, it all goes.
    conn.pragma_update(None, "wal_autocheckpoint", 4000)?;
    Ok(conn)
}

fn migrate(conn: &mut Connection) -> Result<(), VaultError> {
    // Asked of SQLite, not of the header: a migration may still be in the WAL.
    let from: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    known_format(from)?;
    for (version, step) in (1u32..).zip(MIGRATIONS).skip(from as usize) {
        let transaction = conn.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The write-ahead log of the file.
pub(super) fn log_of(path: &Path) -> PathBuf {
    sibling(path, "-wal")
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes away what a copy or a restore may have given to others; the WAL inherits the mode.
fn keep_private(path: &Path) -> Result<(), VaultError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}
