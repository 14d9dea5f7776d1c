//! Generated passwords, from the operating system's generator.

use super::desired::Generator;

/// Sixty-four characters that pass `dhis.conf`, URLs and files unchanged.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Thirty-two without vowels: no word can come about that DHIS2 refuses in passwords ("admin", "login", …).
const CONSONANTS: &[u8; 32] = b"BCDFGHJKLMNPQRSTbcdfghjkmnpqrstv";

/// A value of a Secret.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn generate(generator: Generator) -> Result<String, getrandom::Error> {
    match generator {
        Generator::Text(text) => Ok(text.to_owned()),
        Generator::Password => random(32, ALPHABET),
        // 26 characters, 100 random bits, with the four classes that DHIS2 asks for.
        Generator::Dhis2Password => Ok(format!("{}-8z{}_7Z", random(10, CONSONANTS)?, random(10, CONSONANTS)?)),
    }
}

/// The length of the alphabet divides 256: every character is equally likely.
fn random<const N: usize>(length: usize, alphabet: &[u8; N]) -> Result<String, getrandom::Error> {
    let mut bytes = vec![0_u8; length];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().filter_map(|byte| alphabet.get(usize::from(*byte) % N)).map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_admin_password_has_all_classes_and_no_word() {
        for _ in 0..200 {
            let password = generate(Generator::Dhis2Password).unwrap();
            assert_eq!(password.len(), 26);
            assert!(password.contains(|c: char| c.is_ascii_digit()) && password.contains(|c: char| c.is_ascii_lowercase()));
            assert!(password.contains(|c: char| c.is_ascii_uppercase()) && password.contains(['-', '_']));
            assert!(!password.to_lowercase().contains(['a', 'e', 'i', 'o', 'u']));
        }
    }

    #[test]
    fn no_two_are_alike_and_all_characters_come_up() {
        let passwords: BTreeSet<_> = (0..200).map(|_| generate(Generator::Password).unwrap()).collect();
        assert_eq!(passwords.len(), 200);
        let characters: BTreeSet<_> = passwords.iter().flat_map(|password| password.chars()).collect();
        assert_eq!(characters.len(), 64);
    }
}
