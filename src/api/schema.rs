//! Schemas that the derive can't express: bounds and rules of maps and lists.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Keys of `dhis.conf` that the operator sets itself: exact names and prefixes that end in a dot.
pub const OWNED_KEYS: [&str; 12] = [
    "connection.",
    "analytics.connection.",
    "filestore.",
    "redis.",
    "encryption.",
    "flyway.",
    "cluster.",
    "server.base.url",
    "server.https",
    "node.id",
    "system.read_only_mode",
    "active.read.replicas",
];

/// Settings of PostgreSQL that a user may set.
pub const PARAMETERS: [&str; 21] = [
    "autovacuum_max_workers",
    "autovacuum_naptime",
    "autovacuum_vacuum_cost_limit",
    "checkpoint_timeout",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "log_min_duration_statement",
    "maintenance_work_mem",
    "max_connections",
    "max_locks_per_transaction",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_wal_size",
    "min_wal_size",
    "random_page_cost",
    "shared_buffers",
    "temp_buffers",
    "temp_file_limit",
    "wal_buffers",
    "work_mem",
];

/// Annotations of an Ingress that can do no harm to others on the same controller.
const INGRESS_ANNOTATIONS: &str = r"^(nginx\.ingress\.kubernetes\.io/(proxy-body-size|proxy-read-timeout|proxy-send-timeout|proxy-connect-timeout|proxy-buffer-size|proxy-buffers-number|proxy-busy-buffers-size|proxy-request-buffering|ssl-redirect|force-ssl-redirect|limit-rps|limit-rpm|limit-connections|whitelist-source-range|allowlist-source-range)|traefik\.ingress\.kubernetes\.io/router\.(entrypoints|tls|priority)|haproxy\.org/(timeout-server|timeout-client|ssl-redirect|rate-limit-requests|allow-list)|external-dns\.alpha\.kubernetes\.io/[a-z-]+)$";

fn named(pattern: &str, max: u32) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
}

/// Name of an object of the same namespace.
pub fn object_name(_: &mut SchemaGenerator) -> Schema {
    named(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", 253)
}

/// Names of objects of the same namespace.
pub fn object_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 8, "items": object_name(generator) })
}

/// `true`, or left out.
pub fn only_true(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "boolean", "enum": [true] })
}

/// An image reference with registry, without blanks.
pub fn image_reference(_: &mut SchemaGenerator) -> Schema {
    named(r"^[a-z0-9]([-._:/@a-zA-Z0-9]*[a-zA-Z0-9])?$", 400)
}

/// Size of a volume, whole bytes with a binary or decimal unit.
pub fn storage_quantity(_: &mut SchemaGenerator) -> Schema {
    named(r"^[1-9][0-9]{0,14}(Mi|Gi|Ti|M|G|T)$", 20)
}

/// Memory of a container; DHIS2 does not start below 1 GiB.
pub fn memory_quantity(_: &mut SchemaGenerator) -> Schema {
    named(r"^[1-9][0-9]{0,9}(Mi|Gi|M|G)$", 16)
}

/// CPU of a container.
pub fn cpu_quantity(_: &mut SchemaGenerator) -> Schema {
    named(r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2}(\.[0-9])?|0\.[1-9])$", 10)
}

fn string_map(max: u32, value_max: u32, rules: &serde_json::Value) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": max,
        "additionalProperties": { "type": "string", "maxLength": value_max },
        "x-kubernetes-validations": rules,
    })
}

fn keys_rule(condition: &str, message: &str) -> serde_json::Value {
    serde_json::json!([{ "rule": format!("self.all(k, {condition})"), "message": message }])
}

fn owned() -> String {
    OWNED_KEYS
        .iter()
        .map(|key| if key.ends_with('.') { format!("k.startsWith('{key}')") } else { format!("k == '{key}'") })
        .collect::<Vec<_>>()
        .join(" || ")
}

fn config_keys() -> String {
    format!("k.matches('^[a-z][a-z0-9_.-]{{0,127}}$') && !({})", owned())
}

const CONFIG_KEYS_MESSAGE: &str = "keys are those of dhis.conf in lower case, and not those that the operator sets itself (connection.*, filestore.*, redis.*, encryption.*, flyway.*, cluster.*, server.base.url, server.https, node.id)";

/// `config`: bounded, no owned key, no line break in a value.
pub fn config(_: &mut SchemaGenerator) -> Schema {
    let rules = serde_json::json!([
        { "rule": format!("self.all(k, {})", config_keys()), "message": CONFIG_KEYS_MESSAGE },
        { "rule": r"self.all(k, !self[k].matches('[\\x00-\\x1f\\x7f\\x{85}\\x{2028}\\x{2029}]'))", "message": "values may not hold line breaks or other control characters" },
    ]);
    string_map(64, 1024, &rules)
}

/// `secretConfig`: bounded, no owned key.
pub fn secret_config(generator: &mut SchemaGenerator) -> Schema {
    let value = generator.subschema_for::<super::instance::SecretKey>();
    json_schema!({
        "type": "object", "maxProperties": 32, "additionalProperties": value,
        "x-kubernetes-validations": keys_rule(&config_keys(), CONFIG_KEYS_MESSAGE),
    })
}

/// `parameters`: the allowed ones, plain values.
pub fn parameters(_: &mut SchemaGenerator) -> Schema {
    let list = PARAMETERS.map(|p| format!("'{p}'")).join(", ");
    let rules = serde_json::json!([
        { "rule": format!("self.all(k, k in [{list}])"), "message": "only the parameters named in the description may be set" },
        { "rule": "self.all(k, self[k].matches('^-?[0-9]+([.][0-9]+)?(B|kB|MB|GB|TB|us|ms|s|min|h|d)?$'))", "message": "values are numbers, with a unit of PostgreSQL where it has one: 64MB, 10min, 1.1" },
    ]);
    string_map(32, 32, &rules)
}

/// Java options: `-XX:` and `-D` without code loading and without those that the operator sets.
pub fn java_options(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 32,
        "items": { "type": "string", "minLength": 3, "maxLength": 256, "pattern": r"^-(XX:[-+]?[A-Za-z0-9_]+(=[-_.:/%A-Za-z0-9]+)?|D[-_.A-Za-z0-9]+(=[-_.:/,%A-Za-z0-9]*)?)$" },
        "x-kubernetes-validations": [{
            "rule": "self.all(o, !o.matches('^-XX:(On|Flags|VMOptionsFile|MaxRAM|InitialRAM|MinRAM|MaxHeapSize|InitialHeapSize|SharedArchiveFile|.*Path=)|^-D(context[.]path|java[.]io[.]tmpdir|log4j|dhis2[.]home|java[.]security|javax[.]net|com[.]sun[.]management|jdk[.])'))",
            "message": "options that load code or that the operator sets itself are refused (-XX:On…, -XX:Flags, heap sizes, -Dcontext.path, -Djava.io.tmpdir, -Dlog4j…)",
        }],
    })
}

/// Labels with bounded keys and values.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    string_map(32, 63, &keys_rule("k.size() <= 317", "label keys are at most 317 characters"))
}

const RESERVED: &str = "!k.matches('^([a-z0-9.-]*[.])?(kubernetes[.]io|k8s[.]io|dhis2[.]hosting)/')";
const RESERVED_MESSAGE: &str = "keys of kubernetes.io, k8s.io and dhis2.hosting are reserved";

/// Labels outside the reserved names.
pub fn foreign_labels(_: &mut SchemaGenerator) -> Schema {
    string_map(
        16,
        63,
        &serde_json::json!([
            { "rule": format!("self.all(k, {RESERVED})"), "message": RESERVED_MESSAGE },
            { "rule": "self.all(k, k.matches('^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$'))", "message": "keys and values must be those of Kubernetes labels" },
        ]),
    )
}

/// Annotations outside the reserved names.
pub fn foreign_annotations(_: &mut SchemaGenerator) -> Schema {
    string_map(
        16,
        1024,
        &serde_json::json!([
            { "rule": format!("self.all(k, {RESERVED})"), "message": RESERVED_MESSAGE },
            { "rule": "self.all(k, k.matches('^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$'))", "message": "keys must be those of Kubernetes annotations" },
        ]),
    )
}

/// Annotations of the Ingress, by allow-list.
pub fn ingress_annotations(_: &mut SchemaGenerator) -> Schema {
    let rule = format!("self.all(k, k.matches('{}'))", INGRESS_ANNOTATIONS.replace('\\', "\\\\"));
    string_map(
        24,
        512,
        &serde_json::json!([
            { "rule": rule, "message": "only harmless annotations are taken: body size, timeouts, buffers, redirects, rate and source limits, external-dns; no snippets" },
            { "rule": r"self.all(k, !self[k].matches('[\\x00-\\x1f\\x7f;{}`$\\\\]'))", "message": "values may not hold control characters or any of ; { } ` $ \\" },
        ]),
    )
}

/// `metav1.Condition` as a list map, keyed by type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    let text = |max: u32| serde_json::json!({ "type": "string", "maxLength": max });
    json_schema!({
        "type": "array", "maxItems": 32,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object", "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": text(316), "reason": text(1024), "message": text(32768),
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            },
        },
    })
}

/// Drops the descriptions inside an embedded Kubernetes type: they are Kubernetes' own documentation
/// and would be most of the CRD. The description of the field itself stays.
pub fn no_inner_docs(schema: &mut Schema) {
    schemars::transform::transform_subschemas(
        &mut |inner: &mut Schema| {
            inner.remove("description");
            no_inner_docs(inner);
        },
        schema,
    );
}
