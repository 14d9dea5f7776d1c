//! Encryption of confidential values under a key made from `encryption.password`. The ciphers are not DHIS2's, what an
//! operator can tell is: the same password reads the values, any other does not.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;

use super::dhis2;

/// Below this many characters DHIS2 warns and reports that encryption is off (observed).
pub const MINIMUM: usize = 24;
/// What is used without `encryption.password`: DHIS2, too, has a public default.
const DEFAULT: &str = "stand-in default encryption key";
const ITERATIONS: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// The key of this server.
pub struct Cipher {
    key: Option<LessSafeKey>,
}

impl Cipher {
    /// The key that `password` makes; "" stands for the public default.
    pub fn new(password: &str) -> Self {
        let password = if password.is_empty() { DEFAULT } else { password };
        let mut bytes = [0_u8; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, b"dhis2-standin", password.as_bytes(), &mut bytes);
        Self { key: UnboundKey::new(&AES_256_GCM, &bytes).ok().map(LessSafeKey::new) }
    }

    /// The text encrypted; `None` when the library refuses, which needs gigabytes of text.
    pub fn encrypt(&self, text: &str) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = dhis2::token(NONCE_LEN).into_bytes().try_into().ok()?;
        let mut bytes = text.as_bytes().to_vec();
        self.key.as_ref()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes).ok()?;
        Some(BASE64_STANDARD.encode([&nonce[..], &bytes].concat()))
    }

    /// The text, if this key encrypted it.
    pub fn decrypt(&self, text: &str) -> Option<String> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let open = self.key.as_ref()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        String::from_utf8(open.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Cipher;

    #[test]
    fn only_the_same_password_reads() {
        let sealed = Cipher::new("one password of 24 chars").encrypt("smtp-secret").unwrap();
        assert!(!sealed.contains("smtp"));
        assert_eq!(Cipher::new("one password of 24 chars").decrypt(&sealed).as_deref(), Some("smtp-secret"));
        assert_eq!(Cipher::new("other password of 24 chr").decrypt(&sealed), None);
        assert_eq!(Cipher::new("").decrypt("plain text"), None);
    }
}
