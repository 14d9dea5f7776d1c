//! Is an object as it is wanted? Every field that is wanted must be there with its value; what others
//! added is left alone.

use std::io;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Keys by which the API server merges lists of objects, the most telling first. A list whose entries
/// carry none of them is compared as a whole, in order.
const MERGE_KEYS: [&str; 7] = ["name", "mountPath", "containerPort", "uid", "topologyKey", "ip", "type"];

/// Does `actual` hold all that is `wanted`?
pub fn satisfies(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (_, Value::Null) => true,
        (Value::Object(actual), Value::Object(wanted)) => holds(actual, wanted),
        (Value::Array(actual), Value::Array(wanted)) => list_holds(actual, wanted),
        (actual, wanted) => actual == wanted,
    }
}

fn holds(actual: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| satisfies_at(actual.get(key), value))
}

/// Does what is there under some key, if anything is, hold all that is wanted under it?
pub fn satisfies_at(actual: Option<&Value>, wanted: &Value) -> bool {
    actual.map_or_else(|| is_empty(wanted), |actual| satisfies(actual, wanted))
}

/// The API server leaves empty values out. A `false` that it leaves out is none that we want: where absent means something
/// else, as for `automountServiceAccountToken`, it is kept.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn list_holds(actual: &[Value], wanted: &[Value]) -> bool {
    let key = MERGE_KEYS.into_iter().find(|key| !wanted.is_empty() && wanted.iter().all(|entry| entry.get(key).is_some()));
    match key {
        Some(key) => wanted.iter().all(|entry| actual.iter().any(|there| there.get(key) == entry.get(key) && satisfies(there, entry))),
        None => actual.len() == wanted.len() && actual.iter().zip(wanted).all(|(actual, wanted)| satisfies(actual, wanted)),
    }
}

/// A short digest of a wanted object, stable over restarts and builds: two wishes with one digest are the same.
pub fn digest(value: &Value) -> String {
    let mut text = Hashed(Sha256::new());
    // The keys of a map are in order, however it was built; a hash takes every byte.
    let _ = serde_json::to_writer(&mut text, value);
    let hash = text.0.finalize();
    hash.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Hashes what is written, without keeping it.
struct Hashed(Sha256);

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_add_is_left_alone() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}});
        let actual = json!({"spec": {"containers": [
            {"name": "sidecar"}, {"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}], "imagePullPolicy": "Always"}
        ], "dnsPolicy": "ClusterFirst"}});
        assert!(satisfies(&actual, &wanted));
    }

    #[test]
    fn a_changed_value_is_seen_at_any_depth() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}});
        for actual in [
            json!({"spec": {"containers": [{"name": "a", "args": ["x"]}]}}),
            json!({"spec": {"containers": [{"name": "a", "args": ["y", "x"]}]}}),
            json!({"spec": {"containers": [{"name": "b", "args": ["x", "y"]}]}}),
            json!({"spec": {"containers": []}}),
            json!({"spec": {}}),
        ] {
            assert!(!satisfies(&actual, &wanted), "{actual}");
        }
    }

    #[test]
    fn one_port_for_two_protocols_is_no_confusion() {
        let wanted = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]});
        assert!(satisfies(&wanted, &wanted));
        assert!(!satisfies(&json!({"ports": [{"port": 53, "protocol": "UDP"}]}), &wanted));
    }

    #[test]
    fn a_further_port_of_a_policy_is_a_change() {
        let wanted = json!({"ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}]}]});
        let opened = json!({"ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}, {"port": 22, "protocol": "TCP"}]}]});
        assert!(!satisfies(&opened, &wanted));
    }

    #[test]
    fn what_is_switched_off_must_not_be_left_to_a_default() {
        let wanted = json!({"spec": {"automountServiceAccountToken": false}});
        assert!(!satisfies(&json!({"spec": {}}), &wanted));
    }

    #[test]
    fn empty_is_the_same_as_absent() {
        assert!(satisfies(&json!({"spec": {}}), &json!({"spec": {"emptyDir": {}, "list": []}})));
        assert!(!satisfies(&json!({"spec": {}}), &json!({"spec": {"on": true}})));
    }

    /// Objects that run bear digests of this text: with another one, all would be written again.
    #[test]
    fn the_text_of_a_digest_is_plain_json_in_order() {
        assert_eq!(digest(&json!({"b": [1, "é\"", null], "a": {}})), "95cedfffaa6e8735");
    }

    #[test]
    fn the_digest_does_not_depend_on_order_but_on_values() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(digest(&one), digest(&same));
        assert_ne!(digest(&one), digest(&json!({"a":1,"b":{"c":2,"d":4}})));
    }
}
