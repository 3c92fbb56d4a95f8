//! Tokens one by one, for their owner's eyes: where each stands, since when, and until when.
//!
//! An entry is named by its row's random id (a pending issuance by its RequestID), in hex. Nothing here tells a token's
//! bytes, its signature, or the request that it was presented with.

use std::fmt;

use rusqlite::Row;

use super::books::{Books, key_at, model_at};
use super::census::Census;
use super::recovery::TERM;
use super::thread::Durability;
use super::{Doubt, History, PinnedKeys, VaultError};
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// The fewest digits by which an entry is found.
const FEWEST_DIGITS: usize = 4;

/// An entry's name: hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(String);

/// One token, or one that is yet to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// Its model.
    pub model: ModelName,
    /// Where it stands.
    pub standing: Standing,
    /// What it has behind it.
    pub history: History,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ordered; the signature is not here yet.
    Blinded {
        /// When the request was sent.
        since: Option<Timestamp>,
    },
    /// May be drawn.
    Available,
    /// May be drawn later.
    Maturing {
        /// From then on.
        from: Timestamp,
    },
    /// Signed by another key than the pinned one; not drawn.
    OtherKey,
    /// Drawn for a call; nothing sent.
    Reserved,
    /// In a call's hands; may have been sent.
    Presented {
        /// When it was.
        since: Timestamp,
    },
    /// Waits for the same request, or for its term.
    InDoubt {
        /// When it was presented last.
        since: Timestamp,
        /// The end of its term.
        until: Timestamp,
        /// What is known of it.
        doubt: Doubt,
    },
    /// The backend says that the signature is not its own.
    Refused,
}

/// What a name, or its beginning, stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This one.
    Found(Entry),
    /// Several begin like this.
    Ambiguous,
    /// None does, or it is too short to tell.
    Unknown,
}

impl EntryId {
    fn of_row(id: i64) -> Self {
        Self(format!("{:016x}", id.cast_unsigned()))
    }

    fn of_issuance(request_id: &str) -> Self {
        Self(request_id.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase())
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Entry {
    /// Whether there is more to say of it than that it may be drawn, now or later.
    fn is_special(&self) -> bool {
        self.history == History::MaybeSpent
            || !matches!(self.standing, Standing::Available | Standing::Maturing { .. } | Standing::OtherKey)
    }
}

impl Census {
    /// The tokens that are not simply there to be drawn: pending, in use, in doubt, refused, maybe spent.
    pub async fn special(&self, pinned: PinnedKeys) -> Result<Vec<Entry>, VaultError> {
        let work = move |books: &mut Books| {
            let mut entries = books.entries(&pinned, Selection::Special)?;
            entries.retain(Entry::is_special);
            entries.sort_by(|one, other| (&one.model, &one.id).cmp(&(&other.model, &other.id)));
            Ok(entries)
        };
        self.mailbox.call(Durability::Relaxed, work).await
    }

    /// The one whose name begins with `digits`, at least four of them.
    pub async fn find(&self, digits: &str, pinned: PinnedKeys) -> Result<Lookup, VaultError> {
        let digits = digits.trim().to_ascii_lowercase();
        if digits.len() < FEWEST_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Lookup::Unknown);
        }
        let work = move |books: &mut Books| {
            let mut found = books.entries(&pinned, Selection::All)?;
            found.retain(|entry| entry.id.0.starts_with(&digits));
            Ok(match (found.pop(), found.is_empty()) {
                (None, _) => Lookup::Unknown,
                (Some(entry), true) => Lookup::Found(entry),
                (Some(_), false) => Lookup::Ambiguous,
            })
        };
        self.mailbox.call(Durability::Relaxed, work).await
    }
}

/// Which rows are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Selection {
    All,
    /// Those of which there may be more to say.
    Special,
}

impl Books {
    fn entries(&mut self, pinned: &PinnedKeys, which: Selection) -> Result<Vec<Entry>, VaultError> {
        let now = self.clock.now();
        let mut entries = Vec::new();
        let mut statement = self.conn.prepare_cached(
            "SELECT id, model, key, state, not_before, maybe_spent, presented_at, doubt FROM tokens
             WHERE ?1 OR state <> 'available' OR maybe_spent = 1",
        )?;
        let mut rows = statement.query([which == Selection::All])?;
        while let Some(row) = rows.next()? {
            let model = model_at(row, 1)?;
            let is_pinned = pinned.get(&model) == Some(&key_at(row, 2)?);
            let history = if row.get(5)? { History::MaybeSpent } else { History::Fresh };
            let standing = standing(row, is_pinned, now)?;
            entries.push(Entry { id: EntryId::of_row(row.get(0)?), model, standing, history });
        }
        let mut statement =
            self.conn.prepare_cached("SELECT request_id, model, first_sent FROM issuances")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            entries.push(Entry {
                id: EntryId::of_issuance(row.get_ref(0)?.as_str().unwrap_or_default()),
                model: model_at(row, 1)?,
                standing: Standing::Blinded {
                    since: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_unix),
                },
                history: History::Fresh,
            });
        }
        Ok(entries)
    }
}

fn standing(row: &Row<'_>, is_pinned: bool, now: Timestamp) -> Result<Standing, VaultError> {
    let from = Timestamp::from_unix(row.get(4)?);
    // The schema has it wherever it is asked for.
    let since = Timestamp::from_unix(row.get::<_, Option<i64>>(6)?.unwrap_or_default());
    Ok(match row.get_ref(3)?.as_str().unwrap_or_default() {
        "available" if !is_pinned => Standing::OtherKey,
        "available" if from > now => Standing::Maturing { from },
        "available" => Standing::Available,
        "reserved" => Standing::Reserved,
        "presented" => Standing::Presented { since },
        "in_doubt" => Standing::InDoubt {
            since,
            until: since.plus_seconds(TERM),
            doubt: match row.get_ref(7)?.as_str_or_null().ok().flatten() {
                Some("undelivered") => Doubt::Undelivered,
                _ => Doubt::Unknown,
            },
        },
        "refused" => Standing::Refused,
        _ => return Err(VaultError::Corrupt),
    })
}
