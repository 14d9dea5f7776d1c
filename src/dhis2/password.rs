//! Which passwords DHIS2 accepts.

/// Words that no password may hold, in any case (dhis2-core, `PasswordDictionaryValidationRule`; "must not have any generic
/// word" observed at 2.42.4.1).
const GENERIC: [&str; 8] = ["user", "admin", "system", "administrator", "username", "password", "login", "manager"];

/// A rule that a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Too short or too long; bcrypt takes 72 bytes.
    #[error("the password has fewer than 8 or more than 72 characters")]
    Length,
    /// A kind of character is missing.
    #[error("the password lacks a digit, an upper-case letter, a lower-case letter or a special character")]
    Characters,
    /// A word that everybody tries.
    #[error("the password holds a generic word or the user's name")]
    GenericWord,
}

/// Does DHIS2 accept this password for this user? What it remembers of former passwords is not known here.
///
/// # Errors
/// The first rule that the password breaks.
pub fn check(password: &str, username: &str) -> Result<(), Broken> {
    if !(8..=72).contains(&password.len()) {
        return Err(Broken::Length);
    }
    let kinds: [fn(&char) -> bool; 4] =
        [char::is_ascii_digit, char::is_ascii_uppercase, char::is_ascii_lowercase, |c| !c.is_ascii_alphanumeric()];
    if !kinds.iter().all(|kind| password.chars().any(|character| kind(&character))) {
        return Err(Broken::Characters);
    }
    let lower = password.to_lowercase();
    let generic = |word: &str| !word.is_empty() && lower.contains(&word.to_lowercase());
    if generic(username) || GENERIC.into_iter().any(generic) { Err(Broken::GenericWord) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_dhis2() {
        assert_eq!(check("Zz3-aaaa", "admin"), Ok(()));
        assert_eq!(check("Zz3-aaa", "admin"), Err(Broken::Length));
        assert_eq!(check(&format!("Zz3-{}", "a".repeat(69)), "admin"), Err(Broken::Length));
        for lacking in ["Zz3aaaaa", "zz3-aaaa", "ZZ3-AAAA", "Zzz-aaaa"] {
            assert_eq!(check(lacking, "admin"), Err(Broken::Characters));
        }
        assert_eq!(check("Zz3-PassWord", "admin"), Err(Broken::GenericWord));
        assert_eq!(check("Zz3-Amina", "amina"), Err(Broken::GenericWord));
    }
}
