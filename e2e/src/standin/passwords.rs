//! Which passwords are accepted, and what is said of the others. Rules, their order and texts: dhis2-core's
//! `PasswordValidationRule`s at 2.42, read; the ones for length, characters, generic words and reuse observed at 2.42.4.1.

/// Words that no password may hold, in any case.
const GENERIC: [&str; 8] = ["user", "admin", "system", "administrator", "username", "password", "login", "manager"];

/// How many former passwords are remembered.
pub const HISTORY: usize = 24;

/// Why `password` is refused for `username`, former passwords aside.
pub fn refusal(password: &str, username: &str) -> Option<&'static str> {
    let lower = password.to_lowercase();
    let is_special = |c: char| !c.is_alphanumeric() && !c.is_whitespace();
    if !(8..=72).contains(&password.chars().count()) {
        Some("Password must have at least 8, and at most 72 characters")
    } else if !password.contains(|c: char| c.is_ascii_digit()) {
        Some("Password must have at least one digit")
    } else if !password.contains(char::is_uppercase) {
        Some("Password must have at least one upper case")
    } else if !password.contains(char::is_lowercase) {
        Some("Password must have at least one lower case")
    } else if !password.contains(is_special) {
        Some("Password must have at least one special character")
    } else if GENERIC.iter().any(|word| lower.contains(word)) {
        Some("Password must not have any generic word")
    } else if lower.contains(&username.to_lowercase()) {
        Some("Username/Email must not be a part of password")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn each_rule_speaks() {
        assert_eq!(refusal("Gr3en-hill", "maria"), None);
        for (password, says) in [
            ("Gr3-n", "at least 8, and at most 72"),
            (&*format!("Gr3-{}", "x".repeat(69)), "at least 8, and at most 72"),
            ("Green-hill", "digit"),
            ("gr3en-hill", "upper"),
            ("GR3EN-HILL", "lower"),
            ("Gr3enhill", "special"),
            ("Gr3en-Admin", "generic word"),
            ("Gr3en-mAria", "Username"),
        ] {
            assert!(refusal(password, "maria").is_some_and(|why| why.contains(says)), "{password}");
        }
    }
}
