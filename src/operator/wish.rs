//! Comparing a wish with what is there.

use std::borrow::Cow;

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{
    compare::{digest, satisfies_at},
    desired::Wanted,
    slot,
};
use crate::api::WANTED;

/// Containers that run the agent's own image. It is left out of comparisons of pods that run: they keep the agent that
/// they were rolled out with, so that a new version of the operator restarts nothing. What a CronJob makes next takes
/// the new one: no pod restarts for it, and the old image may be gone some day.
const AGENT_CONTAINERS: [&str; 3] = ["install", "bootstrap", "analytics"];

impl Wanted {
    /// The object as it is sent: with the digest of the wish.
    pub fn stamped(&self) -> Value {
        let mut object = self.object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(WANTED.into(), self.digest().into());
            }
        }
        object
    }

    /// Tells one wish from another.
    pub fn digest(&self) -> String {
        self.digest.get_or_init(|| digest(&self.compared())).clone()
    }

    /// Is the object as wanted? Nothing that is wanted is missing (drift), and it was written for this wish
    /// (else a field that is no longer wanted may still be there).
    pub fn is_satisfied_by(&self, object: &DynamicObject) -> bool {
        slot::applied(object) == Some(&*self.digest()) && self.holds(object)
    }

    fn holds(&self, object: &DynamicObject) -> bool {
        let wanted = self.compared();
        let Some(wanted) = wanted.as_object() else { return false };
        let there = |key: &str| match key {
            "metadata" => serde_json::to_value(&object.metadata).ok().map(Cow::Owned),
            _ => object.data.get(key).map(Cow::Borrowed),
        };
        // The items of a list do not repeat their type.
        let fields = wanted.iter().filter(|(key, _)| !["apiVersion", "kind"].contains(&key.as_str()));
        fields.into_iter().all(|(key, value)| satisfies_at(there(key).as_deref(), value))
    }

    fn compared(&self) -> Cow<'_, Value> {
        if self.object.pointer("/spec/template/spec").is_none() {
            return Cow::Borrowed(&self.object);
        }
        let mut object = self.object.clone();
        for list in ["initContainers", "containers"] {
            let containers = object.pointer_mut(&format!("/spec/template/spec/{list}")).and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(forget_agent_image);
        }
        Cow::Owned(object)
    }
}

fn forget_agent_image(container: &mut Value) {
    let agent = container.get("name").and_then(Value::as_str).is_some_and(|name| AGENT_CONTAINERS.contains(&name));
    if let Some(container) = container.as_object_mut().filter(|_| agent) {
        container.insert("image".into(), Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{desired::Policy, kind::Kind};

    fn wish(agent: &str, image: &str) -> Wanted {
        let containers = json!([{"name": "install", "image": agent}]);
        let object = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "play"},
            "spec": {"template": {"spec": {"initContainers": containers, "containers": [{"name": "dhis2", "image": image}]}}}});
        Wanted::of(Kind::StatefulSet, "play", object, Policy::Keep)
    }

    fn there(wish: &Wanted) -> DynamicObject {
        serde_json::from_value(wish.stamped()).unwrap()
    }

    #[test]
    fn a_new_agent_is_no_change_but_a_new_dhis2_is() {
        let running = there(&wish("operator:1", "dhis2:1"));
        assert!(wish("operator:1", "dhis2:1").is_satisfied_by(&running));
        assert!(wish("operator:2", "dhis2:1").is_satisfied_by(&running));
        assert!(!wish("operator:1", "dhis2:2").is_satisfied_by(&running));
    }

    #[test]
    fn the_next_backup_takes_the_new_agent() {
        let schedule = |agent: &str| {
            let Wanted { object, .. } = wish(agent, "postgres:17");
            let object = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "play-backup"},
                "spec": {"jobTemplate": {"spec": {"template": object["spec"]["template"]}}}});
            Wanted::of(Kind::CronJob, "play-backup", object, Policy::Keep)
        };
        assert!(schedule("operator:1").is_satisfied_by(&there(&schedule("operator:1"))));
        assert!(!schedule("operator:2").is_satisfied_by(&there(&schedule("operator:1"))));
    }

    #[test]
    fn an_item_of_a_list_is_compared_like_any_other() {
        let wish = wish("operator:1", "dhis2:1");
        let item = DynamicObject { types: None, ..there(&wish) };
        assert!(wish.is_satisfied_by(&item));
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_is_a_change() {
        let mut older = wish("operator:1", "dhis2:1");
        older.object["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        assert!(!wish("operator:1", "dhis2:1").is_satisfied_by(&there(&older)));
    }

    #[test]
    fn drift_is_seen_although_the_digest_is_ours() {
        let mut edited = there(&wish("operator:1", "dhis2:1"));
        edited.data["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil:1");
        assert!(!wish("operator:1", "dhis2:1").is_satisfied_by(&edited));
    }
}
