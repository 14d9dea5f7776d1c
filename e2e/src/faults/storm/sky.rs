//! Storms of requests: lost answers, refusals, silence, broken and lying watches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;

use super::play::Sky;
use super::replica::RELIST;
use super::told::Told;
use crate::faults::weather::{Answer, Asked, Bend, Choice, Fall, Rule};
use crate::site::chance::Chance;

/// A storm's name, the fault of the catalogue that it is, what happens, and how.
pub type Entry = (&'static str, &'static str, &'static str, Sky);

const SECOND: Duration = Duration::from_secs(1);

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// This befalls all that is asked for, but for the election, which has storms of its own.
fn on(falls: impl Fn(&Asked) -> Fall + Send + Sync + 'static) -> Rule {
    Arc::new(move |asked| if asked.is_election() { Fall::Pass } else { falls(asked) })
}

/// This befalls what changes something that decides.
fn on_writes(falls: impl Fn(&Asked) -> Fall + Send + Sync + 'static) -> Rule {
    on(move |asked| if asked.is_write() && asked.resource() != "events" { falls(asked) } else { Fall::Pass })
}

/// This befalls watches.
fn on_watches(falls: impl Fn(&Asked) -> Fall + Send + Sync + 'static) -> Rule {
    on(move |asked| if asked.is_watch() { falls(asked) } else { Fall::Pass })
}

/// Counts by method and path: the number of this request among its like, from 1.
fn counter() -> impl Fn(&Asked) -> usize + Send + Sync {
    let counts: Mutex<HashMap<(Method, String, bool), usize>> = Mutex::default();
    move |asked| {
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((asked.method.clone(), asked.path.clone(), asked.is_watch())).or_default();
        *count += 1;
        *count
    }
}

fn conflict() -> Answer {
    Answer::refusal(
        409,
        "Conflict",
        "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
    )
}

fn conflicts(times: usize) -> Rule {
    let number = counter();
    on_writes(move |asked| if number(asked) <= times { Fall::Say(conflict()) } else { Fall::Pass })
}

fn busy(retry_after: u32) -> Answer {
    Answer::refusal(429, "TooManyRequests", "The server has received too many requests and has asked us to try again later")
        .later(retry_after)
}

fn say(answer: Answer) -> Rule {
    on(move |_| Fall::Say(answer.clone()))
}

/// What was made of this kind is refused with this.
fn refused(method: Method, resource: &'static str, answer: Answer) -> Rule {
    on_writes(move |asked| if asked.method == method && asked.resource() == resource { Fall::Say(answer.clone()) } else { Fall::Pass })
}

/// By the time since it began.
fn phases(first: Duration, before: Rule, after: Rule) -> Rule {
    let begun = Instant::now();
    Arc::new(move |asked| if begun.elapsed() < first { before(asked) } else { after(asked) })
}

fn gone() -> Answer {
    Answer::refusal(410, "Expired", "The provided continue parameter is too old to display a consistent list result")
}

fn without(kind: &'static str) -> Rule {
    let choice: Choice = Arc::new(move |event| event["type"] == kind);
    on_watches(move |_| Fall::Bent(Bend::Without(choice.clone())))
}

/// F2 to F5: writes and answers.
pub fn requests() -> Vec<Entry> {
    let create = |rule| Sky::over("create", rule);
    vec![
        ("lost-create", "F2", "every other write is carried out and its answer lost", Sky { lasts: seconds(15), ..create(lost) }),
        ("lost-change", "F2", "the same while pods restart", Sky { lasts: seconds(15), ..Sky::over("configuration", lost) }),
        ("lost-delete", "F2", "the same while an instance goes", Sky { lasts: seconds(15), ..Sky::over("delete", lost) }),
        ("conflict-once", "F3", "the first write of its kind is a conflict", create(|| conflicts(1))),
        ("conflict-restart", "F3", "the same while pods restart", Sky::over("configuration", || conflicts(1))),
        (
            "conflict-five",
            "F3",
            "the first five writes of a kind are conflicts",
            Sky { lasts: seconds(20), calm: seconds(70), ..create(|| conflicts(5)) },
        ),
        (
            "conflict-minute",
            "F3",
            "for a minute every write is a conflict",
            Sky { lasts: seconds(60), calm: seconds(70), ..create(|| on_writes(|_| Fall::Say(conflict()))) },
        ),
        (
            "conflict-status",
            "F3",
            "no status is taken: conflicts",
            Sky { lasts: seconds(15), ..create(|| refused(Method::PUT, "dhis2instances", conflict())) },
        ),
        (
            "conflict-delete",
            "F3",
            "no pod can be deleted: conflicts",
            Sky { lasts: seconds(25), ..Sky::over("configuration", || refused(Method::DELETE, "pods", conflict())) },
        ),
        ("busy-1", "F4", "429 to everything, to be tried again after a second", create(|| say(busy(1)))),
        ("busy-30", "F4", "429 to writes, after 30 seconds", create(|| on_writes(|_| Fall::Say(busy(30))))),
        ("busy-forever", "F4", "429 to everything, after a million seconds", create(|| say(busy(1_000_000)))),
        ("burst-500", "F5", "500 to everything", create(|| say(Answer::refusal(500, "InternalError", "etcdserver: leader changed")))),
        ("burst-502", "F5", "502 with a page of HTML", create(|| say(Answer::page(502, "<html><h1>502 Bad Gateway</h1></html>")))),
        (
            "burst-503",
            "F5",
            "503 to everything",
            create(|| say(Answer::refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request"))),
        ),
        ("burst-504", "F5", "504 without a word", create(|| say(Answer::page(504, "")))),
    ]
}

fn lost() -> Rule {
    let number = AtomicUsize::new(0);
    on_writes(move |_| if number.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { Fall::Lost } else { Fall::Pass })
}

/// F5: refusals that are a person's business.
pub fn refusals() -> Vec<Entry> {
    let told = |rule, told| Sky { lasts: seconds(12), calm: seconds(45), told: Some(told), ..Sky::over("create", rule) };
    vec![
        (
            "forbidden",
            "F5",
            "the right to make a kind is withdrawn",
            told(forbidden, Told::Instance("Forbidden", &["create", "networkpolicies"])),
        ),
        (
            "forbidden-watch",
            "F5",
            "the right to watch a kind is withdrawn",
            told(forbidden_watch, Told::Readyz("cannot watch resource \"jobs\"")),
        ),
        (
            "too-large",
            "F5",
            "413 to what is made of one kind",
            told(too_large, Told::Instance("Failed", &["ConfigMap", "Request entity too large"])),
        ),
        (
            "admission-422",
            "F5",
            "an admission webhook answers 422",
            told(admission_422, Told::Instance("ObjectRejected", &["StatefulSet", "no image without a digest"])),
        ),
        (
            "admission-403",
            "F5",
            "an admission webhook answers 403, and says cannot",
            told(admission_403, Told::Instance("ObjectRejected", &["Service", "a service cannot be without an owner"])),
        ),
    ]
}

fn forbidden() -> Rule {
    let words = "networkpolicies.networking.k8s.io is forbidden: User \"operator\" cannot create resource \"networkpolicies\" in API group \"networking.k8s.io\" in the namespace \"demo\"";
    refused(Method::POST, "networkpolicies", Answer::refusal(403, "Forbidden", words))
}

fn forbidden_watch() -> Rule {
    let words =
        "jobs.batch is forbidden: User \"operator\" cannot watch resource \"jobs\" in API group \"batch\" in the namespace \"demo\"";
    on_watches(move |asked| if asked.resource() == "jobs" { Fall::Say(Answer::refusal(403, "Forbidden", words)) } else { Fall::Pass })
}

fn too_large() -> Rule {
    refused(Method::POST, "configmaps", Answer::refusal(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"))
}

fn admission_422() -> Rule {
    let words = "admission webhook \"images.policy.example.org\" denied the request: no image without a digest";
    refused(Method::POST, "statefulsets", Answer::refusal(422, "Invalid", words))
}

fn admission_403() -> Rule {
    let words = "admission webhook \"owners.policy.example.org\" denied the request: a service cannot be without an owner";
    refused(Method::POST, "services", Answer::refusal(403, "Forbidden", words))
}

/// F6 to F8, F10: watches.
pub fn watches() -> Vec<Entry> {
    let create = |rule| Sky { lasts: seconds(15), requests: 300, ..Sky::over("create", rule) };
    vec![
        (
            "cut-second",
            "F6",
            "every watch is cut each second",
            Sky { gusts: Some(SECOND), ..create(|| on_watches(|_| Fall::Bent(Bend::Ends(seconds(5))))) },
        ),
        ("cut-random", "F6", "each watch ends after a random time below three seconds", create(random)),
        (
            "half-line",
            "F6",
            "each watch breaks in the middle of its next event",
            create(|| on_watches(|_| Fall::Bent(Bend::Half(seconds(2))))),
        ),
        ("bookmarks", "F6", "watches tell nothing but bookmarks", create(|| on_watches(|_| Fall::Bent(Bend::Bookmarks)))),
        (
            "expired",
            "F7",
            "each watch says after a second that its place is no longer known",
            create(|| on_watches(|_| Fall::Bent(Bend::Expires(SECOND)))),
        ),
        ("expired-resume", "F7", "no watch can be resumed: 410", Sky { lasts: seconds(5), ..create(|| on_watches(|_| Fall::Say(gone()))) }),
        (
            "expired-resume-for-ever",
            "F7",
            "a place at which a watch was once can't be resumed, ever: 410",
            Sky { lasts: SECOND, through: true, calm: seconds(40), ..Sky::over("configuration", stuck) },
        ),
        (
            "expired-page",
            "F7",
            "the continue token of a list has expired",
            Sky { restart: true, requests: 300, ..Sky::over("configuration", expired_page) },
        ),
        (
            "away",
            "F8",
            "watches are away while objects are deleted, and lists are made anew",
            Sky { lasts: seconds(12), ..Sky::over("gone", away) },
        ),
        ("away-delete", "F8", "watches are away while the instance is deleted", Sky { lasts: seconds(12), ..Sky::over("delete", away) }),
        (
            "dropped-deleted",
            "F10",
            "no watch tells of a deletion",
            Sky { lasts: SECOND, through: true, relist: RELIST, ..Sky::over("gone", || without("DELETED")) },
        ),
        (
            "dropped-modified",
            "F10",
            "no watch tells of a change",
            Sky { lasts: SECOND, through: true, relist: RELIST, ..Sky::over("drift", || without("MODIFIED")) },
        ),
    ]
}

fn random() -> Rule {
    let chance = Mutex::new(Chance::from(6));
    on_watches(move |_| Fall::Bent(Bend::Ends(chance.lock().unwrap_or_else(PoisonError::into_inner).moment(3000))))
}

/// The place at which each watch was when the storm began is refused for ever, as it is once etcd has compacted it.
fn stuck() -> Rule {
    let places: Mutex<HashMap<String, String>> = Mutex::default();
    on_watches(move |asked| {
        let place = asked.query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")).unwrap_or_default();
        let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
        let first = places.entry(asked.path.clone()).or_insert_with(|| place.to_owned());
        if first == place { Fall::Say(gone()) } else { Fall::Pass }
    })
}

fn expired_page() -> Rule {
    let number = AtomicUsize::new(0);
    on(move |asked| {
        let further = asked.query.contains("continue=");
        match asked.is_list() {
            true if further && number.fetch_add(1, Ordering::Relaxed) < 5 => Fall::Say(gone()),
            true => Fall::Paged(1),
            false => Fall::Pass,
        }
    })
}

/// Watches are refused; then their place is no longer known, once.
fn away() -> Rule {
    let number = counter();
    let unavailable = Answer::refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request");
    phases(
        seconds(5),
        on_watches(move |_| Fall::Say(unavailable.clone())),
        on_watches(move |asked| if number(asked) == 1 { Fall::Bent(Bend::Expires(Duration::ZERO)) } else { Fall::Pass }),
    )
}

/// F11, F12: silence and slowness.
pub fn silences() -> Vec<Entry> {
    let silent = Sky { calm: seconds(75), ..Sky::over("create", || on_writes(|_| Fall::Silence)) };
    vec![
        ("silent-writes", "F11", "writes are accepted and never answered", silent.clone()),
        (
            "silent-watches",
            "F11",
            "watches are accepted and never answered",
            Sky { rule: || on_watches(|_| Fall::Silence), ..silent.clone() },
        ),
        (
            "silent-start",
            "F11",
            "the operator starts while nothing is answered",
            Sky { restart: true, lasts: seconds(15), flow: "configuration", rule: || on(|_| Fall::Silence), ..silent },
        ),
        (
            "slow",
            "F12",
            "every request takes two seconds, those of the election as well",
            // Through: who waits for faster answers is to be noticed.
            Sky { restart: true, through: true, calm: seconds(90), term: "15", ..Sky::over("configuration", slow) },
        ),
    ]
}

fn slow() -> Rule {
    Arc::new(|_| Fall::Slow(seconds(2)))
}
