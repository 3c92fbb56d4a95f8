//! The official client's backup of the abuse tokens (protocol.md §3, "Backup blob").
//!
//! `base64(salt[16] ‖ iv[12] ‖ AES-256-GCM ciphertext ‖ tag)`, the key by PBKDF2-HMAC-SHA256 with 600,000 rounds, no
//! associated data; inside, JSON with the tokens and signatures in base64. The same text is in a `.llmtorbak` (desktop)
//! and a `.llmmaskbak` (web) file, and on the server.
//!
//! Read leniently (white space around, base64 with or without padding, a transient token that is absent), written exactly
//! as the official client does. Whether the signatures hold is not for this module: it knows no keys.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pbkdf2::{Algorithm, Params, pbkdf2_hmac_with_params};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{BackupError, Passphrase};
use crate::secret::Secret;
use crate::vault::backups::{AbuseTokens, SignedToken};
use crate::wire::redemption::Epoch;

/// The longest blob that the server keeps, bytes (protocol.md §3).
pub const SERVER_LIMIT: usize = 100 << 10;

const SALT_LEN: usize = 16;
const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// 600,000 rounds. Not generic over the hash, so that it is compiled once, with the crate, and optimised in every build.
const PARAMS: Params = Params::RECOMMENDED;
const _: () = assert!(PARAMS.rounds() == 600_000, "the official client's rounds");
/// The JSON of two tokens and two signatures, under keys of 4,096 bits, with room to spare.
const PLAIN_LEN: usize = 4096;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The plaintext. Base64 throughout.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase")]
struct Plain {
    permanent_token: String,
    permanent_sig: String,
    #[serde(default)]
    transient_token: Option<String>,
    #[serde(default)]
    transient_sig: Option<String>,
    #[serde(default)]
    transient_epoch: Option<u32>,
}

/// Seals both tokens. Takes a second or so: the rounds are meant to.
pub fn seal<R: CryptoRng + ?Sized>(
    tokens: &AbuseTokens,
    passphrase: &Passphrase,
    rng: &mut R,
) -> Result<String, BackupError> {
    let encode = |secret: &Secret<Vec<u8>>| BASE64.encode(secret.expose());
    let transient = tokens.transient.as_ref();
    let plain = Plain {
        permanent_token: encode(&tokens.permanent.token),
        permanent_sig: encode(&tokens.permanent.signature),
        transient_token: transient.map(|(token, _)| encode(&token.token)),
        transient_sig: transient.map(|(token, _)| encode(&token.signature)),
        transient_epoch: transient.map(|(_, epoch)| epoch.number()),
    };
    // Reserved in full: a buffer that grew would leave plaintext behind in the heap.
    let mut json = Zeroizing::new(Vec::with_capacity(PLAIN_LEN));
    serde_json::to_writer(&mut *json, &plain).map_err(|_| BackupError::Sealing)?;

    let mut blob = vec![0u8; SALT_LEN + IV_LEN];
    rng.fill_bytes(&mut blob);
    let (salt, iv) = blob.split_at(SALT_LEN);
    let (cipher, nonce) = (cipher(passphrase, salt), nonce(iv)?);
    let tag = cipher
        .encrypt_inout_detached(&nonce, &[], json.as_mut_slice().into())
        .map_err(|_| BackupError::Sealing)?;
    blob.extend_from_slice(&json);
    blob.extend_from_slice(&tag);
    Ok(BASE64.encode(blob))
}

/// Opens a blob. Takes as long as sealing.
pub fn open(text: &str, passphrase: &Passphrase) -> Result<AbuseTokens, BackupError> {
    let text: String = text.split_ascii_whitespace().collect();
    let blob = BASE64.decode(text).map_err(|_| BackupError::NotABackup("it is not base64"))?;
    let short = BackupError::NotABackup("it is too short");
    let (salt, rest) = blob.split_at_checked(SALT_LEN).ok_or_else(|| short.clone())?;
    let (iv, rest) = rest.split_at_checked(IV_LEN).ok_or_else(|| short.clone())?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(short)?;
    let mut json = Zeroizing::new(body.to_vec());
    cipher(passphrase, salt)
        .decrypt_inout_detached(&nonce(iv)?, &[], json.as_mut_slice().into(), tag.into())
        .map_err(|_| BackupError::WrongPassphrase)?;
    let plain: Plain = serde_json::from_slice(&json)
        .map_err(|_| BackupError::NotABackup("what is in it are not the official client's fields"))?;

    let permanent = signed(&plain.permanent_token, &plain.permanent_sig)?;
    let transient = match (&plain.transient_token, &plain.transient_sig, plain.transient_epoch) {
        (Some(token), Some(signature), Some(epoch)) if !token.is_empty() => {
            Some((signed(token, signature)?, Epoch::from_number(epoch)))
        }
        _ => None,
    };
    Ok(AbuseTokens { permanent, transient })
}

fn cipher(passphrase: &Passphrase, salt: &[u8]) -> Aes256Gcm {
    let mut key = Zeroizing::new([0u8; 32]);
    let passphrase = passphrase.expose().as_bytes();
    pbkdf2_hmac_with_params(passphrase, salt, Algorithm::Pbkdf2Sha256, PARAMS, key.as_mut_slice());
    Aes256Gcm::new((&*key).into())
}

fn nonce(iv: &[u8]) -> Result<Nonce<aes_gcm::aead::consts::U12>, BackupError> {
    <[u8; IV_LEN]>::try_from(iv).map(Nonce::from).map_err(|_| BackupError::Sealing)
}

fn signed(token: &str, signature: &str) -> Result<SignedToken, BackupError> {
    let decode = |text: &str| {
        let bytes =
            BASE64.decode(text).map_err(|_| BackupError::NotABackup("a token in it is not base64"))?;
        Ok(Secret::new(bytes))
    };
    Ok(SignedToken { token: decode(token)?, signature: decode(signature)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Secret::new(text.to_owned()))
    }

    fn token(byte: u8) -> SignedToken {
        SignedToken { token: Secret::new(vec![byte; 48]), signature: Secret::new(vec![byte ^ 0xff; 256]) }
    }

    #[test]
    fn what_is_sealed_opens_again_and_with_no_other_passphrase() {
        let epoch = Epoch::from_number(24_323);
        let tokens = AbuseTokens { permanent: token(1), transient: Some((token(2), epoch)) };
        let sealed = seal(&tokens, &passphrase("correct horse"), &mut rand::rng()).unwrap();
        assert!(!sealed.contains(&BASE64.encode([1u8; 48])[..24]));
        // As a text editor may have left it.
        let opened =
            open(&format!("\n {}\n{}\r\n", &sealed[..64], &sealed[64..]), &passphrase("correct horse"));
        let opened = opened.ok().unwrap();
        assert!(opened.permanent.token.matches(&[1; 48]) && opened.permanent.signature.matches(&[0xfe; 256]));
        let (transient, month) = opened.transient.unwrap();
        assert!(transient.token.matches(&[2; 48]) && month == epoch);
        assert_eq!(open(&sealed, &passphrase("wrong")).err(), Some(BackupError::WrongPassphrase));
    }

    #[test]
    fn what_is_no_backup_is_told_before_a_passphrase_is_worked_on() {
        for (text, word) in [("", "too short"), ("no base64!", "not base64"), ("AAAA", "too short")] {
            let error = open(text, &passphrase("x")).err().unwrap();
            assert!(error.to_string().contains(word), "{text:?}: {error}");
        }
    }
}
