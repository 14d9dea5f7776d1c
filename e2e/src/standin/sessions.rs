//! Sessions of browsers: cookies in this process's memory, gone with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::dhis2;

/// Name of the cookie.
pub const COOKIE: &str = "JSESSIONID";

/// Which cookie is whose.
#[derive(Default)]
pub struct Sessions {
    users: Mutex<HashMap<String, String>>,
}

impl Sessions {
    /// A new session of this user; returns the value of the cookie.
    pub fn begin(&self, username: &str) -> String {
        let id = dhis2::token(32).to_uppercase();
        self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), username.to_owned());
        id
    }

    /// The user of this cookie.
    pub fn user(&self, id: &str) -> Option<String> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Ends all sessions of this user.
    pub fn end(&self, username: &str) {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, user| user != username);
    }
}
