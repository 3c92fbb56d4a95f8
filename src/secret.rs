//! Values that must never be printed.
//!
//! [`Secret`] wipes its content on drop and implements neither `Debug` nor `Display`: a struct that
//! holds one cannot derive `Debug`, so a stray `{:?}` is a compile error rather than a leak. The
//! only way in is [`Secret::expose`], which is easy to search for.
//!
//! Deliberately absent: serde (a secret that goes to a wire or a file is exposed on purpose, there).

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that is wiped when dropped and cannot be formatted.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes custody of `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every use is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, to be changed in place.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Compares with `other` in time that depends on the lengths alone.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_only_its_own_bytes() {
        let secret = Secret::new(String::from("canary"));
        assert!(secret.matches(b"canary"));
        assert!(!secret.matches(b"canarx"));
        assert!(!secret.matches(b"canar"));
    }
}
