//! How a history ends, and how it would have ended if nothing had happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{LazyLock, Mutex},
};

use serde_json::{Value, json};

use super::{
    server::{State, merge},
    story::{Beginning, Change, Step, tell_of},
};
use crate::{api::WANTED, operator::kind::Kind};

/// How a history ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Everything that the operator made, as text, but for what differs from one life to another.
    pub objects: BTreeMap<String, String>,
    /// Type, status and reason of each condition.
    pub conditions: String,
}

impl End {
    /// How it is now.
    pub fn of(state: &State) -> Self {
        // Whether a backup was made before backups were suspended is the history's.
        let suspended = state.resource["spec"]["backup"]["suspend"] == true;
        let of_set = |object: &Value| object["kind"] == Kind::Dhis2Backup.name() && object["spec"]["set"].is_string();
        let ours = state.objects.iter().filter(|((kind, _), object)| *kind != Kind::Pod && !(suspended && of_set(object)));
        let objects = ours.map(|((kind, name), object)| (format!("{} {name}", kind.name()), lasting(object))).collect();
        Self { objects, conditions: conditions(state) }
    }

    /// The first thing that is not as in the other one.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        let names: BTreeSet<&String> = self.objects.keys().chain(other.objects.keys()).collect();
        let objects = names.into_iter().map(|name| (name.as_str(), self.objects.get(name), other.objects.get(name)));
        let conditions = [("conditions", Some(&self.conditions), Some(&other.conditions))];
        let (name, one, other) = objects.chain(conditions).find(|(_, one, other)| one != other)?;
        Some(format!("{name}:\n{}\nand not\n{}", one.map_or("nothing", String::as_str), other.map_or("nothing", String::as_str)))
    }
}

/// Ends by what the resource asks for: a quiet life is lived once.
static QUIET: LazyLock<Mutex<BTreeMap<String, End>>> = LazyLock::new(Mutex::default);

impl End {
    /// The end of a life in which the resource asked for all of this from its first day on, and nothing went wrong.
    pub fn of_a_quiet_life(steps: &[Step]) -> Self {
        let mut spec = json!({});
        for step in steps {
            if let Step::Change(change) = step {
                merge(&mut spec, &change.spec);
            }
        }
        let asked = steps.iter().any(|step| matches!(step, Step::Ask));
        let life = |spec: &Value| format!("{spec} {asked}");
        if let Some(end) = QUIET.lock().unwrap().get(&life(&spec)) {
            return end.clone();
        }
        // Backups that are suspended from the first day on are never begun.
        let suspended = spec.as_object_mut().and_then(|spec| spec.remove("backup"));
        let late = suspended.map(|backup| Step::Change(Change { spec: json!({ "backup": backup }), restarts: 0 }));
        let ask = asked.then_some(Step::Ask);
        let end = tell_of(&spec, Beginning::Settled, &late.clone().into_iter().chain(ask).collect::<Vec<_>>());
        if let Some(Step::Change(late)) = late {
            merge(&mut spec, &late.spec);
        }
        QUIET.lock().unwrap().insert(life(&spec), end.clone());
        end
    }
}

/// An object as text, but for what differs from one life to another.
fn lasting(object: &Value) -> String {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    if object["kind"] == Kind::Dhis2Backup.name() {
        // Messages and sets name the uid.
        object["status"] = json!(object["status"]["phase"]);
    }
    if object["kind"] == "Secret" {
        // It tells for which wish it was made, and is never made again.
        object["metadata"]["annotations"].as_object_mut().unwrap().remove(WANTED);
        object["data"] = json!(object["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>()));
    }
    object.to_string()
}

fn conditions(state: &State) -> String {
    let list = state.resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let word = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    list.iter().map(|condition| ["type", "status", "reason"].map(|field| word(condition, field)).join(" ")).collect::<Vec<_>>().join(", ")
}
