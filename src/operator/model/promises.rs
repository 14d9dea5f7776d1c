//! What must hold whatever happens.

use std::collections::BTreeSet;

use serde_json::Value;

use super::server::{State, Write};
use crate::operator::kind::Kind;

#[derive(Clone, Default)]
pub struct Promises {
    /// Writes that were looked at.
    seen: usize,
    /// The resourceVersion up to which objects were looked at.
    version: u64,
    /// Everything that was ever made and must not be made again.
    made: BTreeSet<(Kind, String)>,
    /// Pods that the operator deleted, so that they start anew.
    restarts: usize,
    /// How many of them somebody gave reason for.
    pub may_restart: usize,
}

impl Promises {
    /// Looks at what was written since the last time, and at how all is.
    pub fn look(&mut self, state: &State) {
        for write in &state.writes[self.seen..] {
            let Write { verb, what: (kind, name) } = write;
            let precious = matches!(kind, Kind::PersistentVolumeClaim | Kind::Secret);
            assert!(!(precious && *verb == "create") || self.made.insert((*kind, name.clone())), "{name} was made twice");
            assert!(*verb != "delete" || matches!(kind, Kind::Pod | Kind::Job | Kind::NetworkPolicy), "{} {name} was deleted", kind.name());
            if *verb == "delete" && *kind == Kind::Pod {
                self.restarts += 1;
            }
        }
        self.seen = state.writes.len();
        assert!(self.restarts <= self.may_restart, "{} restarts for {} changes that need one", self.restarts, self.may_restart);
        assert_eq!(shown(state, self.version), Vec::<String>::new(), "secret values");
        self.version = state.version();
        is_honest(state);
    }
}

/// Where a generated value is that nobody may see, in what has changed since this version; everywhere, when the values have.
fn shown(state: &State, since: u64) -> Vec<String> {
    let is_new = |object: &Value| object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()) > Some(since);
    let secrets = || state.objects.iter().filter(|((kind, _), _)| *kind == Kind::Secret);
    let all = secrets().any(|(_, secret)| is_new(secret));
    let values: Vec<&str> = secrets()
        .flat_map(|(_, secret)| secret["data"].as_object().into_iter().flat_map(serde_json::Map::values))
        .filter_map(Value::as_str)
        .filter(|value| value.len() >= 20)
        .collect();
    let others = state.objects.iter().filter(|((kind, _), _)| *kind != Kind::Secret).map(|((_, name), object)| (name.as_str(), object));
    let everything = others.chain([("the resource", &state.resource)]).filter(|(_, object)| all || is_new(object));
    let shows = |object: &Value| {
        let text = object.to_string();
        values.iter().any(|value| text.contains(value))
    };
    everything.filter(|(_, object)| shows(object)).map(|(name, _)| name.to_owned()).collect()
}

/// Ready is never said of what was not looked at, and the door is never open before the default password is gone.
fn is_honest(state: &State) {
    let status = &state.resource["status"];
    let ready = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Ready");
    if let Some(ready) = ready.filter(|ready| ready["status"] == "True") {
        assert_eq!(ready["observedGeneration"], status["observedGeneration"]);
    }
    let open = state.objects.keys().any(|(kind, _)| *kind == Kind::Ingress);
    assert!(!open || !status["admin"].is_null(), "the door is open and the default password is not gone");
}
