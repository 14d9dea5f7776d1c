//! Which writes do the changes explain, and which changes were never carried out?

use std::collections::BTreeMap;

use dhis2_operator::operator::desired::Wanted;
use dhis2_operator::operator::settings::Settings;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::scale::{children, crowd};
use crate::site::Outcome;
use crate::site::audit::Request;

/// So long after a change, what is written for it: longer than it takes another replica to lead, and to look at all instances.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Times that a status may be written for one change: what is under way, and what came of it.
const TELLS: usize = 2;

/// A change of a resource that was made.
#[derive(Clone, Debug)]
pub struct Change {
    /// Number of the instance.
    pub instance: usize,
    /// When it was sent.
    pub at: Timestamp,
}

/// An object that such a change has to change: the plural of its kind, and its name after that of the instance.
pub type Part = (String, String);

/// What is asked about.
pub struct Record<'a> {
    /// All changes.
    pub changes: &'a [Change],
    /// When connections were cut or a leader ended: whatever was under way may be done once more.
    pub upsets: &'a [Timestamp],
    /// What each change has to change.
    pub parts: &'a [Part],
}

/// The objects that differ between two shapes of an instance.
///
/// # Errors
/// When the operator would refuse one.
pub fn parts(patched: impl Fn(&str) -> Outcome<dhis2_operator::api::Dhis2Instance>) -> Outcome<Vec<Part>> {
    let wanted = |value: &str| -> Outcome<Vec<Wanted>> { children::wanted(&patched(value)?, &Settings::default()) };
    let (before, after) = (wanted("1")?, wanted("2")?);
    let changed = before.iter().zip(&after).filter(|(before, after)| before.digest() != after.digest());
    let name = crowd::name(0);
    let part = |(wish, _): (&Wanted, _)| (wish.kind.resource().plural, wish.name.trim_start_matches(&name).to_owned());
    Ok(changed.map(part).collect())
}

impl Record<'_> {
    /// Those of these writes that nothing explains.
    pub fn unexplained<'r>(&self, writes: &[&'r Request]) -> Vec<&'r Request> {
        let mut changes: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for change in self.changes {
            changes.entry(crowd::name(change.instance)).or_default().push(change.at);
        }
        // How often each change was the reason of such a write.
        let mut reasons: BTreeMap<(&str, String, Timestamp), usize> = BTreeMap::new();
        let mut unexplained = Vec::new();
        for request in writes {
            let (instance, part) = split(&request.object().name);
            let each = self.allowed(request, part);
            let times = changes.get(instance).into_iter().flatten().filter(|at| follows(request.at, **at));
            let mut free = times.filter(|at| {
                let times = reasons.entry((instance, format!("{}{part}", request.what()), **at)).or_default();
                let room = *times < each * (1 + self.upsets_between(**at, request.done));
                *times += usize::from(room);
                room
            });
            if free.next().is_none() {
                unexplained.push(*request);
            }
        }
        unexplained
    }

    /// Upsets that a change may have met, up to a moment.
    fn upsets_between(&self, change: Timestamp, until: Timestamp) -> usize {
        self.upsets.iter().filter(|upset| upset.duration_since(change).abs() <= WINDOW && **upset <= until).count()
    }

    /// How often one change may be the reason of such a write.
    fn allowed(&self, request: &Request, part: &str) -> usize {
        let object = request.object();
        match (request.verb.as_str(), object.resource.as_str(), object.subresource.as_str()) {
            ("update", "dhis2instances", "status") if part.is_empty() => TELLS,
            ("patch", resource, "") => usize::from(self.parts.iter().any(|(of, name)| of == resource && name == part)),
            _ => 0,
        }
    }

    /// The changes after which an object that they change was not written, as text.
    pub fn lost(&self, writes: &[&Request]) -> Vec<String> {
        let mut last: BTreeMap<(String, String), Timestamp> = BTreeMap::new();
        for request in writes.iter().filter(|request| request.verb == "patch" && request.succeeded()) {
            let done = last.entry((request.object().resource.clone(), request.object().name.clone())).or_insert(request.done);
            *done = (*done).max(request.done);
        }
        let missing = |change: &Change| {
            let name = crowd::name(change.instance);
            let written =
                |(resource, part): &Part| last.get(&(resource.clone(), format!("{name}{part}"))).is_some_and(|done| *done >= change.at);
            self.parts
                .iter()
                .find(|part| !written(part))
                .map(|(resource, part)| format!("{resource} {name}{part}, to be changed at {}", change.at))
        };
        self.changes.iter().filter_map(missing).collect()
    }
}

/// Is a moment one in which something is still written for a change?
fn follows(moment: Timestamp, change: Timestamp) -> bool {
    let after = moment.duration_since(change);
    !after.is_negative() && after <= WINDOW
}

/// The name of an instance, and what comes after it.
fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find(['-', '.']).unwrap_or(name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn request(verb: &str, resource: &str, subresource: &str, name: &str, at: i64) -> Request {
        serde_json::from_value(json!({
            "verb": verb, "stage": "ResponseComplete", "requestReceivedTimestamp": second(at), "stageTimestamp": second(at),
            "user": {"username": "operator"}, "responseStatus": {"code": 200},
            "objectRef": {"resource": resource, "subresource": subresource, "namespace": "crowd-00", "name": name}
        }))
        .unwrap()
    }

    fn parts() -> Vec<Part> {
        vec![("configmaps".into(), String::new()), ("configmaps".into(), "-backup".into())]
    }

    fn told(upsets: &[Timestamp], writes: &[Request]) -> (Vec<i64>, usize) {
        let (changes, parts) = ([Change { instance: 7, at: second(10) }], parts());
        let record = Record { changes: &changes, upsets, parts: &parts };
        let writes: Vec<&Request> = writes.iter().collect();
        let unexplained = record.unexplained(&writes).into_iter().map(|request| request.at.duration_since(second(0)).as_secs()).collect();
        (unexplained, record.lost(&writes).len())
    }

    #[test]
    fn a_change_explains_each_of_its_objects_once() {
        let first = [
            request("patch", "configmaps", "", "i00007", 11),
            request("patch", "configmaps", "", "i00007-backup", 11),
            request("update", "dhis2instances", "status", "i00007", 12),
        ];
        assert_eq!(told(&[], &first), (vec![], 0));
        let again = [&first[..], &[request("patch", "configmaps", "", "i00007", 13)]].concat();
        assert_eq!(told(&[], &again), (vec![13], 0));
        assert_eq!(told(&[second(12)], &again), (vec![], 0), "the answer to the first one may have been lost");
        assert_eq!(told(&[], &first[..1]), (vec![], 1), "the other object was never changed");
    }

    #[test]
    fn nothing_else_is_explained() {
        let others = [
            request("patch", "configmaps", "", "i00007", 9),
            request("patch", "configmaps", "", "i00008", 11),
            request("patch", "services", "", "i00007", 12),
            request("create", "secrets", "", "i00007-admin", 13),
            request("delete", "configmaps", "", "i00007", 14),
            request("patch", "configmaps", "", "i00007", 71),
        ];
        assert_eq!(told(&[], &others).0, [9, 11, 12, 13, 14, 71]);
    }
}
