//! The administrator's password: the default one goes, the generated one or the people's own stays.
//!
//! It is changed through the API only, and while exactly one server runs: a password that is changed in the database below a
//! running server is undone by the next login with the old one (dhis2-core at 2.42.4.1, observed).

use std::time::Duration;

use crate::agent::dhis2::{Dhis2, Login};
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::secret;
use crate::report::AdminPassword;

/// The account that every DHIS2 makes in an empty database (dhis2-core, `DefaultAdminUserPopulator`).
const DEFAULT_USERNAME: &str = "admin";
/// Its password, known to everybody.
const DEFAULT_PASSWORD: &str = "district";
/// Between a refusal and its repetition: the first login after the database was away is refused, right or wrong.
const PAUSE: Duration = Duration::from_secs(2);
/// How many times a question is put until it must have a clear answer.
const TRIES: u32 = 30;

/// A password that could not be replaced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No clear answer.
    #[error("ask DHIS2 whether {0} is accepted: no clear answer in {TRIES} tries; last: {1}")]
    Unclear(&'static str, String),
    /// The request failed.
    #[error("change the default password")]
    Request(#[source] ureq::Error),
    /// DHIS2 does not want to.
    #[error("change the default password: DHIS2 answers {0}: {1}")]
    NotChanged(u16, String),
    /// It is still accepted.
    #[error("the default password is still accepted after it was changed: the door stays closed")]
    StillAccepted,
    /// The new one is not accepted.
    #[error("the generated password is refused after it was set: the door stays closed")]
    NotAccepted,
}

impl Failure for Error {}

/// Sees to it that admin/district is refused; returns whose the password is.
pub fn secure(dhis2: &Dhis2, username: &str, password: &secret::Value, log: Log) -> Result<AdminPassword, Error> {
    let default_password = secret::Value::new(DEFAULT_PASSWORD);
    let default = Login { username: DEFAULT_USERNAME, password: &default_password };
    let ours = Login { username, password };
    let ours_works = accepted(dhis2, ours, "the generated password")?;
    if !accepted(dhis2, default, "the default password")? {
        return Ok(if ours_works { AdminPassword::Generated } else { AdminPassword::Foreign });
    }
    log.info("replacing the default password");
    let answer = dhis2.change_password(default, password).map_err(Error::Request)?;
    if !matches!(answer.status, 200..=204) {
        return Err(Error::NotChanged(answer.status, without(&answer.body, password)));
    }
    if accepted(dhis2, default, "the default password")? {
        return Err(Error::StillAccepted);
    }
    if accepted(dhis2, ours, "the generated password")? { Ok(AdminPassword::Generated) } else { Err(Error::NotAccepted) }
}

/// Whether DHIS2 accepts a login. One refusal proves nothing, since a DHIS2 without database refuses everybody: it counts when
/// loginConfig answers before and after, and when it is repeated.
fn accepted(dhis2: &Dhis2, login: Login<'_>, name: &'static str) -> Result<bool, Error> {
    let mut refusals = 0;
    let mut last = String::new();
    for _ in 0..TRIES {
        let healthy = serves(dhis2);
        match dhis2.me(login) {
            Ok(answer) if answer.status == 200 => return Ok(true),
            Ok(answer) if answer.status == 401 && healthy && serves(dhis2) => refusals += 1,
            Ok(answer) => {
                refusals = 0;
                "HTTP ".clone_into(&mut last);
                last.push_str(&answer.status.to_string());
            }
            Err(error) => {
                refusals = 0;
                last = error.to_string();
            }
        }
        if refusals >= 2 {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::Unclear(name, last))
}

fn serves(dhis2: &Dhis2) -> bool {
    dhis2.login_config().is_ok_and(|answer| answer.status == 200)
}

/// DHIS2's answers do not repeat passwords; should one ever do, it ends here.
fn without(body: &str, password: &secret::Value) -> String {
    body.replace(password.reveal(), "[secret]").chars().take(300).collect()
}
