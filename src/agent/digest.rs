//! Digests, and what the database and the backups remember of the encryption key.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::secret;

/// What stands in place of a digest when DHIS2's built-in key is in use.
const DEFAULT_KEY: &str = "default";

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A fresh salt of 128 bits in hexadecimal.
pub fn salt() -> Result<String, getrandom::Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    Ok(hexadecimal(&salt))
}

/// Proves which encryption key something was made with, without telling the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDigest {
    /// Random, public.
    pub salt: String,
    /// SHA-256 of salt and key, or the word `default`.
    pub digest: String,
}

impl KeyDigest {
    /// The digest of `key`; `None` is DHIS2's built-in key.
    pub fn of(key: Option<&secret::Value>, salt: String) -> Self {
        let digest = key.map_or_else(|| DEFAULT_KEY.to_owned(), |key| sha256(&[salt.as_bytes(), key.reveal().as_bytes()].concat()));
        Self { salt, digest }
    }

    /// Whether `key` is the one.
    pub fn fits(&self, key: Option<&secret::Value>) -> bool {
        *self == Self::of(key, self.salt.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_fits() {
        let key = secret::Value::new("correct horse battery staple");
        let other = secret::Value::new("correct horse battery staplf");
        let digest = KeyDigest::of(Some(&key), "00ff".to_owned());
        assert!(digest.fits(Some(&key)));
        assert!(!digest.fits(Some(&other)));
        assert!(!digest.fits(None));
        assert!(!digest.digest.contains("horse"));
    }

    #[test]
    fn the_default_key_is_told_apart_from_every_other() {
        let digest = KeyDigest::of(None, "00ff".to_owned());
        assert!(digest.fits(None));
        assert!(!digest.fits(Some(&secret::Value::new("default"))));
    }

    #[test]
    fn salts_differ() {
        assert_ne!(salt().unwrap(), salt().unwrap());
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
