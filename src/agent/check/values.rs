//! Whether the values that DHIS2 gets from the user's Secrets are text. On the way into the environment a mark takes the place of bytes that
//! are no UTF-8 (kubelet 1.36, observed): a password would be another one, without a word.

use std::ffi::OsString;

use crate::agent::failure::Failure;
use crate::layout;
use crate::report::Refusal;

/// What takes the place of bytes that are no UTF-8 (Unicode's replacement character); nobody has it in a password.
const MARK: char = '\u{fffd}';

/// A value that DHIS2 would misread.
#[derive(Debug, thiserror::Error)]
#[error(
    "the value of {0} is no UTF-8 text, and DHIS2 would take it for another one: put text into that key of the Secret, base64 where it is to be bytes"
)]
pub struct Error(String);

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(Refusal::SecretMissing)
    }
}

/// Looks at those among the environment's variables.
pub fn are_text(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<(), Error> {
    for (name, value) in environment {
        let name = name.to_string_lossy();
        let is_text = value.to_str().is_some_and(|text| !text.contains(MARK));
        if name.starts_with(layout::SECRET_CONFIG) && !is_text {
            return Err(Error(name.into_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_told_by_their_key() {
        let of = |name: &str, value: &[u8]| are_text([(name.into(), OsString::from_vec(value.to_vec()))].into_iter());
        assert!(of("spec.secretConfig.ldap.manager.password", "pässwörd".as_bytes()).is_ok());
        assert!(of("PATH", b"\xff").is_ok());
        for value in ["p\u{fffd}ss".as_bytes(), b"p\xe4ss"] {
            let error = of("spec.secretConfig.ldap.manager.password", value).unwrap_err();
            assert_eq!(error.reason(), Some(Refusal::SecretMissing));
            assert!(error.to_string().contains("spec.secretConfig.ldap.manager.password"), "{error}");
        }
    }
}
