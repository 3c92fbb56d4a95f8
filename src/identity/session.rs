//! The session: what the cookie `sessionID` holds, and how it is kept.
//!
//! The file `session.sealed` is `1 ‖ nonce[24] ‖ XChaCha20-Poly1305(JSON)` under a key derived from the
//! home's master key; the version byte and a label are authenticated with it. Beside the session it holds
//! the ledger marks of the same account (see [`crate::identity::issuance`]), so that signing out, or in
//! as somebody else, forgets both at once, and a tag of the account: HMAC-SHA-256 of its id under the same key. The
//! tag answers one question, whether a sign-in is the same account's, on which hangs what becomes of
//! issuances that are pending. The vault keeps one more, of whoever what is held there was obtained as
//! ([`crate::identity::sign_in`]).
//!
//! Deliberately absent: the account's id, name or address on disk, and the session in any `Debug`.

use std::collections::BTreeMap;
use std::io::{self, Seek as _, Write as _};

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::datadir::Home;
use crate::identity::error::IdentityError;
use crate::secret::Secret;
use crate::wire::{ModelName, SESSION_COOKIE};

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;
const LABEL: &[u8] = b"llmtor session\x01";
const TAG_LABEL: &[u8] = b"llmtor account\x01";

/// The value of the cookie `sessionID`: a UUID with hyphens, in lower case.
#[derive(Clone)]
pub struct Session(Secret<String>);

impl Session {
    /// Reads what a user pastes: the bare value, or a header of cookies with `sessionID=<value>` among them and `; Path=/`
    /// or the like behind, with white space, quotes or `;` around. Upper case is the same session.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim_matches(is_noise);
        let text = ["Set-Cookie:", "Cookie:"]
            .into_iter()
            .find_map(|header| {
                let (head, rest) = text.split_at_checked(header.len())?;
                head.eq_ignore_ascii_case(header).then_some(rest)
            })
            .unwrap_or(text);
        let value = if text.contains('=') { text.split(';').find_map(of_cookie) } else { Some(text) };
        let value = value.ok_or(IdentityError::InvalidSession)?;
        let hyphenated = value.len() == 36
            && value.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if hyphenated {
            Ok(Self(Secret::new(value.to_ascii_lowercase())))
        } else {
            Err(IdentityError::InvalidSession)
        }
    }

    /// The value, for the cookie header.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// What a user's eyes pass over.
fn is_noise(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | ';')
}

/// The value, if that is the session's cookie.
fn of_cookie(part: &str) -> Option<&str> {
    let (name, value) = part.split_once('=')?;
    (name.trim_matches(is_noise) == SESSION_COOKIE).then(|| value.trim_matches(is_noise))
}

/// What the ledger said when no token of a model was pending: a mark to count debits from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerMark {
    /// The account's used credits (`UsedAuthTokens`).
    pub used: i64,
    /// Tokens that this vault had finalized.
    pub finalized: u64,
}

/// The ledger marks of one account, by model.
pub(crate) type LedgerMarks = BTreeMap<ModelName, LedgerMark>;

impl Drop for Content {
    fn drop(&mut self) {
        self.session.zeroize();
    }
}

/// `session.sealed`.
#[derive(Clone)]
pub struct SessionFile {
    home: Home,
    key: Secret<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    session: String,
    /// `None` if the backend gave the account no id.
    #[serde(default)]
    account: Option<[u8; 32]>,
    #[serde(default)]
    marks: LedgerMarks,
}

/// Whose session was kept before, as seen from an account that signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// The same account's.
    Same,
    /// Another account's.
    Another,
    /// No session is kept, or it cannot be told whose it is.
    Unknown,
}

impl SessionFile {
    /// The session file of `home`, sealed under `key` (derived from the master key for this purpose alone).
    pub fn new(home: Home, key: Secret<[u8; 32]>) -> Self {
        Self { home, key }
    }

    /// Keeps `session`, which is that of the account with this `id` (`/me`). Ledger marks stay if it is the same
    /// account's as before.
    pub fn store<R: CryptoRng + ?Sized>(
        &self,
        session: &Session,
        id: &str,
        rng: &mut R,
    ) -> Result<(), IdentityError> {
        let marks = match self.predecessor_of(id) {
            Predecessor::Same => self.marks()?,
            Predecessor::Another | Predecessor::Unknown => LedgerMarks::new(),
        };
        self.write(session, self.tag(id), marks, rng)
    }

    /// Whether the session that is kept is that of the account with this `id`. A file that does not open tells nothing.
    pub fn predecessor_of(&self, id: &str) -> Predecessor {
        let kept = self.read().ok().flatten().and_then(|kept| kept.account);
        match (kept, self.tag(id)) {
            (Some(kept), Some(new)) if kept == new => Predecessor::Same,
            (Some(_), Some(_)) => Predecessor::Another,
            _ => Predecessor::Unknown,
        }
    }

    /// The tag of the account with this `id`; none if the backend gave it no id.
    pub(super) fn tag(&self, id: &str) -> Option<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).ok().filter(|_| !id.is_empty())?;
        mac.update(TAG_LABEL);
        mac.update(id.as_bytes());
        Some(mac.finalize().into_bytes().into())
    }

    /// The kept session, if there is one.
    pub fn load(&self) -> Result<Option<Session>, IdentityError> {
        self.read()?.map(|content| Session::parse(&content.session)).transpose()
    }

    /// Signs out here: overwrites and removes the file.
    pub fn wipe(&self) -> Result<(), IdentityError> {
        let path = self.home.session_path();
        match std::fs::OpenOptions::new().write(true).open(&path) {
            Ok(mut file) => {
                // Best effort: a copy-on-write file system keeps old blocks; they stay sealed.
                let overwritten = file.metadata().and_then(|meta| {
                    file.seek(io::SeekFrom::Start(0))?;
                    file.write_all(&vec![0; usize::try_from(meta.len()).unwrap_or(0)])?;
                    file.sync_all()
                });
                drop(file);
                std::fs::remove_file(&path).and(overwritten).map_err(|_| IdentityError::SealedSession)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(_) => Err(IdentityError::SealedSession),
        }
    }

    /// The ledger marks beside the session.
    pub(crate) fn marks(&self) -> Result<LedgerMarks, IdentityError> {
        Ok(self.read()?.map(|content| content.marks.clone()).unwrap_or_default())
    }

    /// Replaces the ledger marks, if `session` is still the one that is kept.
    pub(crate) fn set_marks(&self, session: &Session, marks: LedgerMarks) -> Result<(), IdentityError> {
        match self.read()? {
            Some(kept) if kept.session == session.expose() => {
                self.write(session, kept.account, marks, &mut rand::rng())
            }
            _ => Ok(()),
        }
    }

    fn write<R: CryptoRng + ?Sized>(
        &self,
        session: &Session,
        account: Option<[u8; 32]>,
        marks: LedgerMarks,
        rng: &mut R,
    ) -> Result<(), IdentityError> {
        let content = Content { session: session.expose().to_owned(), account, marks };
        let mut plain = serde_json::to_vec(&content).map_err(|_| IdentityError::Internal)?;
        let mut nonce = [0u8; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: LABEL });
        plain.zeroize();
        let sealed = sealed.map_err(|_| IdentityError::Internal)?;
        let bytes = [&[VERSION][..], &nonce, &sealed].concat();
        Ok(self.home.write_private(&self.home.session_path(), &bytes)?)
    }

    fn read(&self) -> Result<Option<Content>, IdentityError> {
        let bytes = match std::fs::read(self.home.session_path()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(IdentityError::SealedSession),
        };
        let (&[VERSION], rest) = bytes.split_first_chunk().ok_or(IdentityError::SealedSession)? else {
            return Err(IdentityError::SealedSession);
        };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(IdentityError::SealedSession)?;
        let plain = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: LABEL })
            .map(Zeroizing::new)
            .map_err(|_| IdentityError::SealedSession)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| IdentityError::SealedSession)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a1b2c3d-0000-4000-8000-00000000cafe";

    #[test]
    fn a_session_is_read_as_users_paste_it() {
        for text in [
            ID.to_owned(),
            format!(" \n{ID}\r\n"),
            format!("sessionID={ID}"),
            format!("sessionID = \"{ID}\";"),
            ID.to_uppercase(),
            format!("sessionID={ID}; Path=/"),
            format!("Set-Cookie: sessionID={}; Path=/; HttpOnly; SameSite=Lax", ID.to_uppercase()),
            format!("cookie: theme=dark; sessionID={ID}; other=1"),
        ] {
            assert!(Session::parse(&text).is_ok_and(|session| session.expose() == ID), "{text}");
        }
    }

    #[test]
    fn anything_but_a_hyphenated_uuid_is_refused() {
        let bad = [
            "",
            "x",
            &ID.replace('-', ""),
            &ID[1..],
            "other=0a1b2c3d-0000-4000-8000-00000000cafe",
            "other=1; notsessionID=0a1b2c3d-0000-4000-8000-00000000cafe",
            "sessionID=other; Path=0a1b2c3d-0000-4000-8000-00000000cafe",
            "0a1b2c3d-0000-4000-8000-00000000cafe; path=/",
            "0a1b2c3d-0000-4000-8000-0000000\r\nafe",
            "{0a1b2c3d-0000-4000-8000-00000000caf}",
        ];
        for text in bad {
            let Err(error) = Session::parse(text) else { panic!("accepted: {text}") };
            assert!(text.len() < 8 || !error.to_string().contains(text));
        }
    }
}
