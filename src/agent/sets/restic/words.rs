//! What restic says of a server that does not answer or refuses, and what it means.

use super::messages;
use crate::agent::program;

/// How restic tells that it repeats a request; the time follows, and then the error.
pub const RETRYING: &str = " returned error, retrying after ";

/// How restic tells that it could not remove a lock.
const LOCK: &str = "Remove(<lock/";

/// Did a request that was repeated succeed?
pub fn is_healed(line: &str) -> bool {
    line.contains("operation successful after")
}

/// What is wrong between restic and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is not reached.
    Unreachable,
    /// It refuses.
    Denied,
    /// It refuses, since its clock is another one.
    Skewed,
    /// It takes no more.
    Full,
}

/// What servers say that refuse: AWS, and those that speak like it.
const DENIED: [&str; 16] = [
    "access denied",
    "accessdenied",
    "403 forbidden",
    "access key id",
    "no user exists",
    "invalidaccesskeyid",
    "signature we calculated",
    "signaturedoesnotmatch",
    "account is disabled",
    "provided token",
    "expiredtoken",
    "security token",
    "authorization header is malformed",
    "must be addressed using the specified endpoint",
    "bucket does not exist",
    "wormprotected",
];
/// What those say whose clock is another one.
const SKEWED: [&str; 3] = ["time and the current time is too large", "time and the server's time is too large", "requesttimetooskewed"];
/// What those say that are full.
const FULL: [&str; 6] = [
    "quota exceeded",
    "quotaexceeded",
    "due to quota",
    "reached its minimum free drive threshold",
    "507 insufficient storage",
    "no space left on device",
];
/// What is said when there is no answer, or none of the right server. A server that fails by itself counts as not there.
const UNREACHABLE: [&str; 20] = [
    "dial tcp",
    "read tcp",
    "write tcp",
    "no such host",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "timeout",
    "deadline exceeded",
    "x509:",
    "tls:",
    "http response to https client",
    "server closed",
    "eof",
    "500 internal",
    "internal error",
    "502 bad gateway",
    "503 service",
    "service unavailable",
    "reduce your request rate",
];

/// What a line means.
pub fn meaning(line: &str) -> Option<Trouble> {
    let line = line.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let meanings =
        [(Trouble::Skewed, &SKEWED[..]), (Trouble::Denied, &DENIED), (Trouble::Full, &FULL), (Trouble::Unreachable, &UNREACHABLE)];
    meanings.into_iter().find(|(_, words)| says(words)).map(|(meaning, _)| meaning)
}

/// What is wrong, and the last that restic says of it; not what a program says that it runs, which has a server of its own.
pub fn trouble(stderr: &[u8]) -> Option<(Trouble, String)> {
    let text = String::from_utf8_lossy(stderr);
    let mut failing = Vec::new();
    // A lock that stays is the last that restic tells, whatever it has ended for.
    for line in messages(&text).filter(|line| !line.starts_with("subprocess ") && !line.starts_with(LOCK)) {
        if is_healed(&line) {
            failing.clear();
        } else {
            failing.push(line);
        }
    }
    failing.iter().rev().find_map(|line| Some((meaning(line)?, without_wait(line))))
}

/// Was a lock left, since the server lets none be removed? restic ends well all the same.
pub fn leaves_locks(stderr: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stderr);
    messages(&text).any(|line| line.starts_with(LOCK) && meaning(&line) == Some(Trouble::Denied))
}

/// The same words each time: the wait before a try is another one in each.
fn without_wait(line: &str) -> String {
    let error = line.split_once(RETRYING).and_then(|(request, rest)| Some(format!("{request}: {}", rest.split_once(": ")?.1)));
    error.unwrap_or_else(|| program::last_lines(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_in_the_same_words() {
        let said = |wait: &str| trouble(format!("Stat(<config/>) returned error, retrying after {wait}: Stat: Access Denied.").as_bytes());
        assert_eq!(said("956.777435ms"), Some((Trouble::Denied, "Stat(<config/>): Stat: Access Denied.".to_owned())));
        assert_eq!(said("956.777435ms"), said("41.2s"));
    }

    #[test]
    fn what_servers_say_has_a_meaning() {
        for (said, meant) in [
            ("Fatal: unable to open config file: Stat: Access Denied.", Some(Trouble::Denied)),
            ("The request signature we calculated does not match the signature you provided.", Some(Trouble::Denied)),
            ("The difference between the request time and the current time is too large.", Some(Trouble::Skewed)),
            ("Error response code RequestTimeTooSkewed.", Some(Trouble::Skewed)),
            ("The AWS Access Key Id you provided does not exist in our records.", Some(Trouble::Denied)),
            ("Your account is disabled; please contact your administrator.", Some(Trouble::Denied)),
            ("The provided token has expired.", Some(Trouble::Denied)),
            ("The provided token must be refreshed.", Some(Trouble::Denied)),
            ("Save(<lock/1>) failed: Bucket quota exceeded", Some(Trouble::Full)),
            ("Get \"https://s3/\": tls: failed to verify certificate: x509: signed by unknown authority", Some(Trouble::Unreachable)),
            ("Get \"https://s3/\": dial tcp: lookup s3: no such host", Some(Trouble::Unreachable)),
            ("Fatal: unable to save snapshot: exit status 1\nRemove(<lock/1>) failed: client.RemoveObject: Access Denied.", None),
            ("subprocess pg_dump: connection to server failed: Connection refused", None),
            (
                "Load(<index/1>) returned error, retrying after 1s: EOF\nLoad(<index/1>) operation successful after 1 retries\nFatal: no",
                None,
            ),
            ("Load(<index/1>) returned error, retrying after 1s: EOF\nsignal terminated received, cleaning up", Some(Trouble::Unreachable)),
        ] {
            assert_eq!(trouble(said.as_bytes()).map(|(meaning, _)| meaning), meant, "{said}");
        }
    }

    #[test]
    fn a_lock_that_stays_is_seen() {
        assert!(leaves_locks(b"{\"message_type\":\"summary\"}\nRemove(<lock/c8e658ca44>) failed: client.RemoveObject: Access Denied."));
        assert!(!leaves_locks(b"Remove(<snapshot/c8e658ca44>) failed: client.RemoveObject: Access Denied."), "locks go");
        assert!(!leaves_locks(b"Remove(<lock/c8e658ca44>) failed: connection reset by peer"), "the next one will take it away");
    }
}
