//! Who owns the fields of an object, as its `managedFields` say.
//!
//! What is created by POST belongs to its manager as an *update*. A server-side apply of the same manager owns its fields beside that, and a
//! field that is no longer applied stays as long as the update owns it. So ownership has to be taken over before a field goes; while the
//! wish holds all that the update owns, none goes, and the request is saved.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::{Map, Value};

use crate::api::MANAGER;

fn is_ours(entry: &ManagedFieldsEntry, operation: &str) -> bool {
    entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some(operation) && entry.subresource.is_none()
}

/// Would fields stay that we created and that are not in `wanted`, if that is applied now?
pub fn would_stay(object: &DynamicObject, wanted: &Value) -> bool {
    let mut updates = object.metadata.managed_fields.iter().flatten().filter(|entry| is_ours(entry, "Update"));
    // An entry that can't be read may hold anything.
    updates.any(|entry| !entry.fields_v1.as_ref().is_some_and(|fields| covers(wanted, &fields.0)))
}

/// The same entries with what we own as an update turned into what an apply owns. Where we applied before, that was after all that we
/// created was in the wish: then the apply owns it already.
pub fn taken_over(object: &DynamicObject) -> Vec<ManagedFieldsEntry> {
    let mut entries = object.metadata.managed_fields.clone().unwrap_or_default();
    if entries.iter().any(|entry| is_ours(entry, "Apply")) {
        entries.retain(|entry| !is_ours(entry, "Update"));
    }
    for entry in entries.iter_mut().filter(|entry| is_ours(entry, "Update")) {
        entry.operation = Some("Apply".into());
    }
    entries
}

/// Does a value hold all of these fields (`FieldsV1`)? No, where that is not certain.
fn covers(value: &Value, fields: &Value) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    fields.iter().all(|(path, below)| match path.split_once(':') {
        None => path == ".",
        Some(("f", name)) => value.get(name).is_some_and(|value| covers(value, below)),
        Some(("k", keys)) => entry(value, keys).is_some_and(|value| covers(value, below)),
        Some(("v", item)) => serde_json::from_str(item).is_ok_and(|item: Value| value.as_array().is_some_and(|list| list.contains(&item))),
        Some(_) => false,
    })
}

/// The entry of a list that has these keys.
fn entry<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    list.as_array()?.iter().find(|entry| keys.iter().all(|(key, value)| entry.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn managed(entries: &[(&str, &str, Value)]) -> DynamicObject {
        let entry = |(manager, operation, fields): &(&str, &str, Value)| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "play", "managedFields": entries}
        }))
        .unwrap()
    }

    fn created() -> Value {
        json!({
            "f:metadata": {
                "f:labels": {".": {}, "f:team": {}},
                "f:ownerReferences": {".": {}, "k:{\"uid\":\"1\"}": {}},
                "f:finalizers": {".": {}, "v:\"a/b\"": {}},
            },
            "f:data": {".": {}, "f:dhis.conf": {}},
        })
    }

    fn wish() -> Value {
        json!({
            "metadata": {"labels": {"team": "x", "other": "y"}, "ownerReferences": [{"uid": "1", "name": "play"}], "finalizers": ["a/b"]},
            "data": {"dhis.conf": "a = b"},
        })
    }

    #[test]
    fn nothing_stays_while_all_that_was_created_is_wanted() {
        let there = managed(&[(MANAGER, "Update", created()), ("somebody", "Update", json!({"f:data": {"f:theirs": {}}}))]);
        assert!(!would_stay(&there, &wish()));
    }

    #[test]
    fn whatever_is_not_wanted_any_more_would_stay() {
        let there = managed(&[(MANAGER, "Update", created())]);
        for (pointer, name) in [("/metadata/labels", "team"), ("/metadata", "ownerReferences"), ("/data", "dhis.conf"), ("", "data")] {
            let mut wish = wish();
            wish.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
            assert!(would_stay(&there, &wish), "{pointer}/{name}");
        }
        for (pointer, value) in
            [("/metadata/ownerReferences/0/uid", json!("2")), ("/metadata/finalizers/0", json!("c")), ("/data", json!(""))]
        {
            let mut wish = wish();
            *wish.pointer_mut(pointer).unwrap() = value;
            assert!(would_stay(&there, &wish), "{pointer}");
        }
    }

    #[test]
    fn what_is_not_understood_would_stay() {
        for fields in [json!({"i:0": {}}), json!({"odd": {}}), json!({"f:data": null}), Value::Null] {
            assert!(would_stay(&managed(&[(MANAGER, "Update", fields.clone())]), &wish()), "{fields}");
        }
    }

    #[test]
    fn an_apply_takes_over_what_was_created() {
        let operations = |object: &DynamicObject| {
            let entries = taken_over(object).into_iter();
            entries.map(|entry| (entry.manager.unwrap(), entry.operation.unwrap(), entry.fields_v1.unwrap().0)).collect::<Vec<_>>()
        };
        let entry = |manager: &str, operation: &str, fields: Value| (manager.to_owned(), operation.to_owned(), fields);
        let theirs = || ("somebody", "Update", json!({}));
        let once = managed(&[(MANAGER, "Update", created()), theirs()]);
        assert_eq!(operations(&once), [entry(MANAGER, "Apply", created()), entry("somebody", "Update", json!({}))]);
        let both = managed(&[(MANAGER, "Apply", json!({"f:data": {}})), (MANAGER, "Update", created()), theirs()]);
        let kept = entry(MANAGER, "Apply", json!({"f:data": {}}));
        assert_eq!(operations(&both), [kept, entry("somebody", "Update", json!({}))], "two entries of one name are one of them");
    }
}
