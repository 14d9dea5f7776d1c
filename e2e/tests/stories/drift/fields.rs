//! The fields of an object that a manager owns, as its `managedFields` tell, and what somebody may make of them.

use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

/// JSON pointers to what the manager owns: each plain value, each list and each entry of one. What comes later in the object is
/// first, so that taking it away moves none of the rest.
pub fn owned(object: &DynamicObject, manager: &str) -> Vec<String> {
    let (whole, mut found) = (json!(object), Vec::new());
    for entry in object.metadata.managed_fields.iter().flatten() {
        if let Some(fields) = entry.fields_v1.as_ref().filter(|_| entry.manager.as_deref() == Some(manager) && entry.subresource.is_none())
        {
            walk(&fields.0, &whole, "", &mut found);
        }
    }
    found.reverse();
    found
}

/// Follows the notation of `fieldsV1`: `f:` a field, `k:` the entry of a list that has these keys, `v:` the entry of a set.
fn walk(fields: &Value, whole: &Value, at: &str, found: &mut Vec<String>) {
    let here = whole.pointer(at).unwrap_or(&Value::Null);
    for (part, below) in fields.as_object().into_iter().flatten() {
        let entry = |is: &dyn Fn(&Value) -> bool| here.as_array()?.iter().position(is).map(|index| index.to_string());
        let keys = part.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok()).unwrap_or_default();
        let step = match part.split_once(':') {
            Some(("f", name)) => Some(name.replace('~', "~0").replace('/', "~1")),
            Some(("k", _)) => entry(&|entry| keys.iter().all(|(key, value)| entry.get(key) == Some(value))),
            Some(("v", text)) => entry(&|entry| serde_json::from_str::<Value>(text).is_ok_and(|value| value == *entry)),
            _ => None,
        };
        let Some(pointer) = step.map(|step| format!("{at}/{step}")) else { continue };
        if below.as_object().is_none_or(Map::is_empty) {
            whole_of(whole, &pointer, found);
            continue;
        }
        if !keys.is_empty() {
            found.push(pointer.clone());
        }
        let mut inside = Vec::new();
        walk(below, whole, &pointer, &mut inside);
        // Another key would be another entry.
        inside.retain(|inner| !keys.keys().any(|key| *inner == format!("{pointer}/{key}")));
        found.extend(inside);
    }
}

/// Everything in what is owned as a whole.
fn whole_of(whole: &Value, at: &str, found: &mut Vec<String>) {
    match whole.pointer(at) {
        None => {}
        Some(Value::Object(fields)) => {
            fields.keys().for_each(|name| whole_of(whole, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found));
        }
        Some(Value::Array(entries)) => {
            found.push(at.to_owned());
            (0..entries.len()).for_each(|index| whole_of(whole, &format!("{at}/{index}"), found));
        }
        Some(_) => found.push(at.to_owned()),
    }
}

/// Words of which one may be taken for another in most fields that take words.
const WORDS: [&str; 6] = ["Allow", "Always", "Parallel", "RollingUpdate", "Exact", "None"];

/// What somebody might write instead: one of these the API server mostly takes.
pub fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => number.as_i64().into_iter().flat_map(|number| [json!(number + 1), json!(number - 1)]).collect(),
        Value::String(text) => {
            let words = WORDS.iter().filter(|word| *word != text).map(|word| json!(word));
            let digit = text.find(|letter: char| letter.is_ascii_digit());
            let counted =
                digit.map(|at| text[at..=at].parse::<u8>().map(|digit| format!("{}{}{}", &text[..at], digit % 9 + 1, &text[at + 1..])));
            counted.and_then(Result::ok).map(|text| json!(text)).into_iter().chain([json!(format!("{text}x"))]).chain(words).collect()
        }
        Value::Array(entries) => {
            let with = |entry: Value| json!(entries.iter().cloned().chain([entry]).collect::<Vec<_>>());
            [json!({})].into_iter().chain(entries.last().cloned()).chain([json!("more")]).map(with).collect()
        }
        Value::Object(_) | Value::Null => Vec::new(),
    }
}

/// The object with another value at the pointer, or with none.
pub fn with(object: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut edited = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    let name = name.replace("~1", "/").replace("~0", "~");
    match (edited.pointer_mut(parent), value) {
        (Some(Value::Object(fields)), Some(value)) => drop(fields.insert(name, value)),
        (Some(Value::Object(fields)), None) => drop(fields.remove(&name)),
        (Some(Value::Array(entries)), value) => {
            if let Some(index) = name.parse::<usize>().ok().filter(|index| *index < entries.len()) {
                drop(entries.splice(index..=index, value));
            }
        }
        _ => {}
    }
    edited
}
