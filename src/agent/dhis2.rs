//! The few requests of DHIS2's API that the agent makes (dhis2-core at 2.42.4.1, observed).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use ureq::Agent;

use crate::agent::secret;

/// A DHIS2 server.
#[derive(Debug)]
pub struct Dhis2 {
    base: String,
    agent: Agent,
}

/// A user of it.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The user's name.
    pub username: &'a str,
    /// The password.
    pub password: &'a secret::Value,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, as far as it is text.
    pub body: String,
}

impl Dhis2 {
    /// The server at an address with context path. A request that takes longer than `patience` hangs, as all do until DHIS2 has
    /// started.
    pub fn at(base: &str, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            // A redirect is DHIS2's way to ask for a login: an answer of its own.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Connections are not kept: a restarted server is asked anew, and a proxy from the environment is not used for it.
            .max_idle_connections(0)
            .proxy(None)
            .build();
        Self { base: base.trim_end_matches('/').to_owned(), agent: config.into() }
    }

    /// Whether the web application has started: hangs until then, 200 afterwards, 404 when the start has failed.
    pub fn ping(&self) -> Result<Answer, ureq::Error> {
        answer(self.agent.get(self.url("/api/ping")).call()?)
    }

    /// What the login page needs; 500 while the database is away.
    pub fn login_config(&self) -> Result<Answer, ureq::Error> {
        answer(self.agent.get(self.url("/api/loginConfig")).call()?)
    }

    /// The version that runs, by its own word; none while the database is away.
    pub fn version(&self) -> Option<String> {
        let answer = self.login_config().ok().filter(|answer| answer.status == 200)?;
        let body: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
        Some(body.get("apiVersion")?.as_str()?.to_owned())
    }

    /// The user's own account: 200 with the right password, 401 with a wrong one, and 401 while the database is away.
    pub fn me(&self, login: Login<'_>) -> Result<Answer, ureq::Error> {
        answer(self.agent.get(self.url("/api/me?fields=id")).header("Authorization", login.header()).call()?)
    }

    /// Changes the user's own password: 202, or 409 with the rule that was broken.
    pub fn change_password(&self, login: Login<'_>, new: &secret::Value) -> Result<Answer, ureq::Error> {
        let body = json!({ "oldPassword": login.password.reveal(), "newPassword": new.reveal() });
        answer(self.agent.put(self.url("/api/me/changePassword")).header("Authorization", login.header()).send_json(body)?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Login<'_> {
    fn header(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password.reveal())))
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    Ok(Answer { status, body: response.body_mut().read_to_string()? })
}

impl std::fmt::Display for Dhis2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.base)
    }
}
