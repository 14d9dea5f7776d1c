//! A schema as a list of fields, each with what a reader of the reference wants to know.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool};
use serde_json::Value;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path, such as `backup.retention.daily`; `[]` stands for each entry of a list, `<key>` for each key of a map.
    pub path: String,
    /// Its type in words.
    pub kind: String,
    /// Its default, as a user would write it; none when it has none, or when its default is that of its own fields.
    pub default: Option<String>,
    /// Must it be given?
    pub required: bool,
    /// What it means.
    pub description: String,
}

/// A rule that the API server checks, in the words in which it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The field that the refusal names.
    pub path: String,
    /// The refusal.
    pub message: String,
}

/// The fields below `schema`, each before its own fields.
pub fn fields(schema: &JSONSchemaProps, path: &str) -> Vec<Field> {
    let mut found = Vec::new();
    for (name, field) in own(schema) {
        let path = format!("{path}{name}");
        let required = schema.required.iter().flatten().any(|known| known == name);
        found.push(of(field, &path, required));
        found.extend(inner(field, &path));
    }
    found
}

/// The rules of `schema` and of all that is below it.
pub fn rules(schema: &JSONSchemaProps, path: &str) -> Vec<Rule> {
    let own_rules = schema.x_kubernetes_validations.iter().flatten();
    let mut found: Vec<Rule> = own_rules
        .map(|rule| Rule {
            path: format!("{path}{}", rule.field_path.as_deref().unwrap_or_default()),
            message: rule.message.clone().unwrap_or_else(|| rule.rule.clone()),
        })
        .collect();
    for (name, field) in own(schema) {
        found.extend(rules(field, &format!("{path}.{name}")));
    }
    found
}

/// Does it have fields that are told one by one? Types that are Kubernetes' own are documented there, and carry no descriptions.
pub fn has_fields(schema: &JSONSchemaProps) -> bool {
    let mut fields = own(schema).peekable();
    fields.peek().is_some() && fields.all(|(_, field)| field.description.is_some())
}

fn own(schema: &JSONSchemaProps) -> impl Iterator<Item = (&String, &JSONSchemaProps)> {
    schema.properties.iter().flatten()
}

fn inner(field: &JSONSchemaProps, path: &str) -> Vec<Field> {
    let (entry, separator) = match (entries(field), values(field)) {
        (Some(entry), _) => (entry, "[]."),
        (None, Some(value)) => (value, ".<key>."),
        (None, None) => (field, "."),
    };
    if has_fields(entry) { fields(entry, &format!("{path}{separator}")) } else { Vec::new() }
}

fn of(field: &JSONSchemaProps, path: &str, required: bool) -> Field {
    let default = field.default.as_ref().map(|default| &default.0);
    Field {
        path: path.to_owned(),
        kind: kind(field),
        default: default.filter(|default| !default.is_object()).map(plain),
        required,
        description: field.description.clone().unwrap_or_default(),
    }
}

/// The schema of the entries of a list.
fn entries(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match field.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(entry) => Some(entry),
        JSONSchemaPropsOrArray::Schemas(entries) => entries.first(),
    }
}

/// The schema of the values of a map.
fn values(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match field.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(value) => Some(value),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

fn kind(field: &JSONSchemaProps) -> String {
    if let Some(choices) = &field.enum_ {
        let choices: Vec<String> = choices.iter().map(|choice| plain(&choice.0)).collect();
        return choices.join(" or ");
    }
    if let Some(entry) = entries(field) {
        return format!("list of {}s", name(entry));
    }
    if let Some(value) = values(field) {
        return format!("map of {}s", name(value));
    }
    let name = name(field);
    match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => format!("{name}, {least} to {most}"),
        (Some(least), None) => format!("{name}, at least {least}"),
        (None, Some(most)) => format!("{name}, at most {most}"),
        (None, None) => name,
    }
}

fn name(field: &JSONSchemaProps) -> String {
    if field.format.as_deref() == Some("date-time") {
        return "time".into();
    }
    field.type_.clone().unwrap_or_else(|| "value".into())
}

/// A value as a user writes it in YAML.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(value: Value) -> JSONSchemaProps {
        serde_json::from_value(value).unwrap()
    }

    fn found(schema: &JSONSchemaProps) -> Vec<(String, String)> {
        let fields = fields(schema, "");
        fields.into_iter().map(|field| (field.path, field.kind)).collect()
    }

    #[test]
    fn fields_of_objects_lists_and_maps_are_told() {
        let leaf = json!({"type": "object", "properties": {"key": {"type": "string", "description": "A key."}}});
        let schema = schema(json!({"properties": {
            "list": {"description": "Some.", "items": leaf},
            "map": {"description": "Some.", "additionalProperties": leaf},
            "object": {"description": "One.", "type": "object", "properties": leaf["properties"]},
        }}));
        let expected = [
            ("list", "list of objects"),
            ("list[].key", "string"),
            ("map", "map of objects"),
            ("map.<key>.key", "string"),
            ("object", "object"),
            ("object.key", "string"),
        ];
        assert_eq!(found(&schema), expected.map(|(path, kind)| (path.to_owned(), kind.to_owned())));
    }

    #[test]
    fn kubernetes_own_types_are_one_field() {
        let affinity = json!({"description": "Where.", "type": "object", "properties": {"nodeAffinity": {"type": "object"}}});
        let schema = schema(json!({"properties": {"affinity": affinity}}));
        assert_eq!(found(&schema), [("affinity".to_owned(), "object".to_owned())]);
    }

    #[test]
    fn a_default_a_range_and_a_choice_are_told() {
        let schema = schema(json!({"required": ["size"], "properties": {
            "size": {"type": "string", "enum": ["small", "large"], "description": "How much."},
            "days": {"type": "integer", "minimum": 0.0, "maximum": 1000.0, "default": 7, "description": "Days."},
        }}));
        let [days, size] = fields(&schema, "").try_into().expect("two fields, in the order of their names");
        assert_eq!((days.kind.as_str(), days.default.as_deref(), days.required), ("integer, 0 to 1000", Some("`7`"), false));
        assert_eq!((size.kind.as_str(), size.default, size.required), ("`small` or `large`", None, true));
    }

    #[test]
    fn a_rule_names_its_field() {
        let rule = json!({"rule": "self == oldSelf", "message": "no", "fieldPath": ".size"});
        let schema = schema(json!({"properties": {"volume": {"description": "A volume.", "x-kubernetes-validations": [rule]}}}));
        assert_eq!(rules(&schema, "spec"), [Rule { path: "spec.volume.size".into(), message: "no".into() }]);
    }
}
