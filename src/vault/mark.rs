//! The mark: a small file beside the vault that says what the vault must at least be, so that one that was put back, copied,
//! or has lost its log is known for what it is before it spends anything.
//!
//! An older file of this vault, put in its place by hand, has tokens that were spent since; what the backend keeps for them
//! are the answers to other prompts. SQLite cannot see that, because the file is whole. So each opening and each closing puts
//! a fresh random number into the vault and then into the mark, and the mark follows the count of presentations, which the
//! vault has on disk before the first byte of one leaves.
//!
//! | mark | vault | then the vault |
//! | --- | --- | --- |
//! | none | without a number | is new, or of a version that made no mark |
//! | none | with one | was copied without its mark |
//! | any | with a number that is neither the mark's nor comes right after it, or fewer presentations | was put back, or lost the end of its log |
//! | any | the right one, in another file (inode, time of birth) than the one that was open last | was copied, with its mark; perhaps the original goes on |
//! | of a vault that was used | none there | is missing |
//! | any | the right one | is the one that was here |
//!
//! What follows is for [`recover`](super::recovery). The vault is always written first, and keeps the number before its own,
//! so a process that dies in between leaves a mark that is one behind; only a mark that a start wrote is synced, so a
//! power cut may leave one that is a few presentations behind, which is safe.
//!
//! Not seen: that a whole disk was set back, with vault and mark.

use std::fs;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::VaultError;

/// A random number that vault and mark have in common.
pub(super) type Nonce = [u8; 16];

/// Of which file, as far as the system tells; zeros where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    inode: u64,
    born: u128,
}

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    stage: Stage,
    nonce: Nonce,
    presentations: u64,
    file: FileId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The vault has no number yet.
    New,
    /// It had this one when it was opened, or closed.
    Used,
}

/// What was beside the vault before it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Note(Note),
    /// Not readable as one.
    Damaged,
}

/// What the vault says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) nonce: Nonce,
    /// The one before.
    pub(super) before: Nonce,
    pub(super) presentations: u64,
}

/// Which vault it is, seen from the mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provenance {
    /// The one that was here.
    #[default]
    Same,
    /// An older state of it: its tokens may have been spent since.
    PutBack,
    /// A copy: its tokens may be spent elsewhere as well.
    Copied,
}

/// The mark of an open vault.
pub(super) struct Mark {
    path: PathBuf,
    vault: PathBuf,
    file: fs::File,
    note: Note,
}

impl FileId {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let inode = 0;
        let born = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        Ok(Self { inode, born: born.map_or(0, |since| since.as_nanos()) })
    }

    /// A time of birth is given to nobody twice, and inodes are; but elsewhere than on Linux a copy may keep the time, and some
    /// file systems know none.
    fn is(&self, other: &Self) -> bool {
        let both_born = self.born != 0 && other.born != 0;
        let (same_inode, same_birth) = (self.inode == other.inode, self.born == other.born);
        if !both_born {
            same_inode
        } else if cfg!(target_os = "linux") {
            same_birth
        } else {
            same_inode && same_birth
        }
    }
}

impl Found {
    /// Beside the vault at `path`.
    pub(super) fn beside(path: &Path) -> Result<Self, VaultError> {
        match fs::read_to_string(beside(path)) {
            Ok(text) => Ok(Note::from_text(&text).map_or(Self::Damaged, Self::Note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Self::Damaged),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there must be a vault.
    pub(super) fn is_of_a_vault(self) -> bool {
        !matches!(self, Self::Nothing | Self::Note(Note { stage: Stage::New, .. }))
    }

    /// The table above, for a vault that says `said` and is `file`.
    pub(super) fn judge(self, said: Option<Said>, file: FileId) -> Provenance {
        match (self, said) {
            (Self::Nothing | Self::Note(Note { stage: Stage::New, .. }), None) => Provenance::Same,
            (Self::Nothing, Some(_)) => Provenance::Copied,
            (Self::Note(Note { stage: Stage::New, nonce, .. }), Some(said)) if said.before == nonce => {
                Provenance::Same
            }
            (Self::Note(note), Some(said)) if note.stage == Stage::Used && note.fits(said) => {
                if note.file.is(&file) { Provenance::Same } else { Provenance::Copied }
            }
            (Self::Note(_) | Self::Damaged, _) => Provenance::PutBack,
        }
    }
}

impl Note {
    pub(super) fn nonce(&self) -> Nonce {
        self.nonce
    }

    pub(super) fn presentations(&self) -> u64 {
        self.presentations
    }

    fn fits(&self, said: Said) -> bool {
        (said.nonce == self.nonce || said.before == self.nonce) && said.presentations >= self.presentations
    }

    /// One line, always as long.
    fn to_text(self) -> String {
        use std::fmt::Write as _;
        let stage = match self.stage {
            Stage::New => "new ",
            Stage::Used => "used",
        };
        let mut text = format!("llmtor vault mark 1 {stage} ");
        for byte in self.nonce {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text, " {:020} {:020} {:039}", self.presentations, self.file.inode, self.file.born);
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.strip_prefix("llmtor vault mark 1 ")?.split_whitespace();
        let stage = match words.next()? {
            "new" => Stage::New,
            "used" => Stage::Used,
            _ => return None,
        };
        let hex = words.next()?;
        let mut nonce = Nonce::default();
        if hex.len() != 2 * nonce.len() {
            return None;
        }
        for (at, byte) in nonce.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        let presentations = words.next()?.parse().ok()?;
        let file = FileId { inode: words.next()?.parse().ok()?, born: words.next()?.parse().ok()? };
        words.next().is_none().then_some(Self { stage, nonce, presentations, file })
    }
}

impl Mark {
    /// Of a vault that has no number yet, and is to get one after `nonce`.
    pub(super) fn of_a_new_vault(vault: &Path, nonce: Nonce) -> Result<Self, VaultError> {
        Self::write(vault, Note { stage: Stage::New, nonce, presentations: 0, file: FileId::of(vault)? })
    }

    /// Of the vault at `vault`, which says `said`; synced.
    pub(super) fn of(vault: &Path, said: Said) -> Result<Self, VaultError> {
        let Said { nonce, presentations, .. } = said;
        Self::write(vault, Note { stage: Stage::Used, nonce, presentations, file: FileId::of(vault)? })
    }

    fn write(vault: &Path, note: Note) -> Result<Self, VaultError> {
        let path = beside(vault);
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let mut file = crate::datadir::private_file().create(true).truncate(true).open(&draft)?;
        file.write_all(note.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        match path.parent() {
            Some(directory) if cfg!(unix) && !directory.as_os_str().is_empty() => {
                fs::File::open(directory)?.sync_all()?;
            }
            _ => {}
        }
        Ok(Self { path, vault: vault.to_owned(), file, note })
    }

    /// Whether another file, or none, is where the open vault was.
    pub(super) fn is_displaced(&self) -> bool {
        FileId::of(&self.vault)
            .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |found| !found.is(&self.note.file))
    }

    /// So many presentations are in the vault, and synced.
    pub(super) fn follow(&mut self, presentations: u64) {
        if presentations != self.note.presentations {
            self.note.presentations = presentations;
            self.rewrite();
        }
    }

    /// The vault is closed, and says this.
    pub(super) fn close(mut self, nonce: Nonce) {
        self.note.nonce = nonce;
        self.rewrite();
    }

    /// In place: every text is as long.
    fn rewrite(&mut self) {
        let text = self.note.to_text();
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(text.as_bytes()));
        if let Err(error) = written {
            // It is behind then, which is safe.
            tracing::warn!(path = %self.path.display(), kind = %error.kind(), "the vault's mark could not be written");
        }
    }
}

fn beside(vault: &Path) -> PathBuf {
    let mut name = vault.as_os_str().to_owned();
    name.push(".mark");
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: FileId = FileId { inode: 7, born: 70 };
    const OTHER: FileId = FileId { inode: 8, born: 80 };

    fn note(stage: Stage, nonce: u8, presentations: u64) -> Found {
        Found::Note(Note { stage, nonce: [nonce; 16], presentations, file: FILE })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the table below has it beside `None`")]
    fn said(nonce: u8, before: u8, presentations: u64) -> Option<Said> {
        Some(Said { nonce: [nonce; 16], before: [before; 16], presentations })
    }

    #[test]
    fn each_vault_is_known_for_what_it_is() {
        use Provenance::{Copied, PutBack, Same};
        let used = note(Stage::Used, 5, 10);
        for (found, said, file, expected) in [
            (Found::Nothing, None, FILE, Same),
            (Found::Nothing, said(1, 0, 0), FILE, Copied),
            (note(Stage::New, 1, 0), None, FILE, Same),
            // The process died before the mark was written anew.
            (note(Stage::New, 1, 0), said(2, 1, 0), FILE, Same),
            (note(Stage::New, 1, 0), said(3, 2, 0), FILE, PutBack),
            (used, said(5, 4, 10), FILE, Same),
            (used, said(5, 4, 11), FILE, Same),
            (used, said(6, 5, 10), FILE, Same),
            // A copy from before the last start, from during it, and one without the end of its log.
            (used, said(4, 3, 9), FILE, PutBack),
            (used, said(7, 6, 10), FILE, PutBack),
            (used, said(5, 4, 9), FILE, PutBack),
            (used, said(5, 4, 9), OTHER, PutBack),
            // Of a version that made no mark.
            (used, None, FILE, PutBack),
            (used, said(5, 4, 10), OTHER, Copied),
            (Found::Damaged, said(5, 4, 10), FILE, PutBack),
        ] {
            assert_eq!(found.judge(said, file), expected, "{found:?} {said:?}");
        }
        assert!(used.is_of_a_vault() && Found::Damaged.is_of_a_vault());
        assert!(!Found::Nothing.is_of_a_vault() && !note(Stage::New, 1, 0).is_of_a_vault());
    }

    #[test]
    fn a_file_is_itself_after_a_move_and_a_copy_of_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, three) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("3"));
        fs::write(&one, b"x").unwrap();
        let id = FileId::of(&one).unwrap();
        fs::write(&one, b"longer").unwrap();
        fs::rename(&one, &two).unwrap();
        assert!(FileId::of(&two).unwrap().is(&id));
        fs::copy(&two, &three).unwrap();
        assert!(!FileId::of(&three).unwrap().is(&id));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_breaks_the_reader(
            nonce in any::<Nonce>(), presentations in any::<u64>(), inode in any::<u64>(), born in any::<u128>(), junk in ".{0,120}"
        ) {
            let note = Note { stage: Stage::Used, nonce, presentations, file: FileId { inode, born } };
            let text = note.to_text();
            prop_assert_eq!(Note::from_text(&text), Some(note));
            prop_assert_eq!(Note { stage: Stage::New, ..note }.to_text().len(), text.len());
            for end in 0..text.len() {
                prop_assert_eq!(Note::from_text(&text[..end]), None);
            }
            Note::from_text(&junk);
        }
    }
}
