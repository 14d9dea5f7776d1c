//! Passwords as PostgreSQL keeps them: made here, so that a clear password never reaches the server's log, and compared here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use sha2::Sha256;

use crate::agent::secret;

/// The verifier that `ALTER ROLE … PASSWORD` takes instead of the password.
pub fn verifier(password: &secret::Value) -> String {
    postgres_protocol::password::scram_sha_256(password.reveal().as_bytes())
}

/// Whether `password` is the one that `verifier` (`pg_authid.rolpassword`) was made of. Plays a login with ourselves: the client
/// accepts a server only if that server's key belongs to the client's password (RFC 5802).
pub fn fits(password: &secret::Value, verifier: &str) -> bool {
    play(password.reveal().as_bytes(), verifier).is_some()
}

fn play(password: &[u8], verifier: &str) -> Option<()> {
    let (salted, keys) = verifier.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = salted.split_once(':')?;
    let server_key = STANDARD.decode(keys.split_once(':')?.1).ok()?;

    let mut client = ScramSha256::new(password, ChannelBinding::unsupported());
    let client_first = String::from_utf8(client.message().to_vec()).ok()?;
    let client_first_bare = client_first.strip_prefix("n,,")?;
    let nonce = client_first_bare.split_once("r=")?.1;
    let server_first = format!("r={nonce}+,s={salt},i={iterations}");
    client.update(server_first.as_bytes()).ok()?;
    let client_final = String::from_utf8(client.message().to_vec()).ok()?;
    let without_proof = client_final.split_once(",p=")?.0;

    let mut signature = Hmac::<Sha256>::new_from_slice(&server_key).ok()?;
    signature.update(format!("{client_first_bare},{server_first},{without_proof}").as_bytes());
    let server_final = format!("v={}", STANDARD.encode(signature.finalize().into_bytes()));
    client.finish(server_final.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_verifier_only() {
        let password = secret::Value::new("Ää-9_long enough");
        let verifier = verifier(&password);
        assert!(fits(&password, &verifier));
        assert!(!fits(&secret::Value::new("Ää-9_long enougi"), &verifier));
    }

    /// RFC 7677's example, as PostgreSQL would store it.
    #[test]
    fn a_verifier_of_somebody_else_is_understood() {
        let stored = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert!(fits(&secret::Value::new("pencil"), stored));
        assert!(!fits(&secret::Value::new("pencils"), stored));
    }

    #[test]
    fn other_forms_fit_nothing() {
        for stored in ["", "md53175bce1d3201d16594cebf9d7eb3f9d", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:?$?:?"] {
            assert!(!fits(&secret::Value::new("pencil"), stored), "{stored}");
        }
    }
}
