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

/// A text that matches a pattern, or is refused in these words: of a `pattern` the API server would show the expression only.
fn text(max: u32, pattern: &str, message: &str) -> Schema {
    let rule = format!("self.matches('^({pattern})$')");
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": max,
        "x-kubernetes-validations": [{ "rule": rule, "message": message }],
    })
}

/// A released version of DHIS2.
pub fn version(_: &mut SchemaGenerator) -> Schema {
    let part = "(0|[1-9][0-9]?)";
    let pattern = format!("2[.](4[1-9]|[5-9][0-9])[.]{part}([.]{part})?");
    text(16, &pattern, "write a version of DHIS2, 2.41 or newer, as 2.42.1, or 2.42.1.1 for a hotfix")
}

/// Name of a host: its last label begins with a letter, so that it is no IP address.
pub fn host(_: &mut SchemaGenerator) -> Schema {
    let pattern = "([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?";
    text(
        253,
        pattern,
        "write a host name in lower case, such as play.example.org: no wildcard, no IP address, no port, no dot at the end, at most 63 characters between dots",
    )
}

/// Context path.
pub fn path(_: &mut SchemaGenerator) -> Schema {
    text(
        64,
        "/([a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*)?",
        "write / or a path such as /hmis: letters, digits, _ and - between single /, none at the end",
    )
}

/// Name of an object, as Kubernetes has them.
const NAME: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// Name of an object of the same namespace.
pub fn object_name(_: &mut SchemaGenerator) -> Schema {
    let message =
        "write the name of an object: lower-case letters, digits, - and . only. It is looked for in the namespace of the instance";
    text(253, NAME, message)
}

/// Name of an instance.
pub fn instance_name(_: &mut SchemaGenerator) -> Schema {
    text(
        40,
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        "write the name of a Dhis2Instance: lower-case letters, digits and - only. It is looked for in the same namespace",
    )
}

/// Name of an object of the cluster.
pub fn class_name(_: &mut SchemaGenerator) -> Schema {
    text(253, NAME, "write the name of an object of the cluster: lower-case letters, digits, - and . only")
}

/// Path on a volume, from its root: no part of it leads up again.
pub fn path_in_volume(_: &mut SchemaGenerator) -> Schema {
    let part = "[-_A-Za-z0-9 +=@,~][-._A-Za-z0-9 +=@,~]*";
    let pattern = format!("{part}(/{part})*");
    text(
        400,
        &pattern,
        "write a path from the root of the volume, such as old/dhis2.sql.gz: no / at its beginning or end, no part that begins with a dot",
    )
}

/// Name of a backup set.
pub fn set_name(_: &mut SchemaGenerator) -> Schema {
    text(128, "[-.a-zA-Z0-9]+", "write the name of a set as status.backup.history has it: letters, digits, - and . only")
}

/// Names of objects of the same namespace, each once.
pub fn object_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 8, "items": object_name(generator), "x-kubernetes-list-type": "set" })
}

/// Copies of the repository, each name once.
pub fn copies(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 3, "items": generator.subschema_for::<super::backup::BackupCopy>(),
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    })
}

/// Name of a copy, which names of objects end with.
pub fn copy_name(_: &mut SchemaGenerator) -> Schema {
    text(
        15,
        "[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?",
        "write a name of at most 15 lower-case letters, digits and -, beginning and ending with a letter or digit",
    )
}

/// Key in a Secret.
pub fn secret_key(_: &mut SchemaGenerator) -> Schema {
    text(253, "[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*", "write a key of a Secret: letters, digits, -, _ and . only")
}

/// `true`, or left out.
pub fn only_true(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "boolean", "enum": [true] })
}

/// Registry, port and path of an image, as container runtimes take them.
const REPOSITORY: &str = "([a-zA-Z0-9][-.a-zA-Z0-9]*(:[0-9]{1,5})?/)?[a-z0-9]+([-._]+[a-z0-9]+)*(/[a-z0-9]+([-._]+[a-z0-9]+)*)*";

/// Image without tag.
pub fn repository(_: &mut SchemaGenerator) -> Schema {
    text(255, REPOSITORY, "write an image without tag and digest, in lower case, such as docker.io/dhis2/core: the tag is spec.version")
}

/// Digest of an image.
pub fn digest(_: &mut SchemaGenerator) -> Schema {
    text(71, "sha256:[0-9a-f]{64}", "write sha256: and 64 digits of 0-9 and a-f")
}

/// Image with tag, digest or both.
pub fn image_reference(_: &mut SchemaGenerator) -> Schema {
    let digest = "@sha256:[0-9a-f]{64}";
    let pattern = format!("{REPOSITORY}(:[a-zA-Z0-9_][-._a-zA-Z0-9]{{0,127}}({digest})?|{digest})");
    text(400, &pattern, "write an image with its tag or digest, such as docker.io/postgis/postgis:17-3.5")
}

/// Name of a bucket: what AWS takes, without what would be an IP address or a path.
pub fn bucket(_: &mut SchemaGenerator) -> Schema {
    let message = "write the name of a bucket: 3 to 63 lower-case letters, digits, - and ., beginning and ending with a letter or digit";
    text(63, "[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]", message)
}

/// What the names of objects in a bucket begin with.
pub fn object_prefix(_: &mut SchemaGenerator) -> Schema {
    let part = "[a-zA-Z0-9_][-._a-zA-Z0-9]*";
    let message =
        "write what names of objects begin with, such as hmis/production: letters, digits, -, _ and . between single /, none at either end";
    text(255, &format!("{part}(/{part})*"), message)
}

/// Region of a bucket.
pub fn region(_: &mut SchemaGenerator) -> Schema {
    text(64, "[a-z0-9]([-a-z0-9]*[a-z0-9])?", "write a region, such as eu-west-1: lower-case letters, digits and - only")
}

/// Address of an S3 server: encrypted, without bucket.
pub fn s3_endpoint(_: &mut SchemaGenerator) -> Schema {
    let label = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
    let pattern = format!("https://{label}([.]{label})*(:[1-9][0-9]{{0,4}})?/?");
    let message = "write https:// and a host in lower case, with its port if that is not 443, such as https://s3.example.org:9000: no bucket, no path, no password";
    text(253, &pattern, message)
}

/// Size of a volume, whole bytes with a binary or decimal unit.
pub fn storage_quantity(_: &mut SchemaGenerator) -> Schema {
    text(20, "[1-9][0-9]{0,5}(Mi|Gi|Ti|M|G|T)", "write a whole number of up to six digits with Mi, Gi, Ti, M, G or T, such as 50Gi")
}

/// Memory of a container.
pub fn memory_quantity(_: &mut SchemaGenerator) -> Schema {
    text(16, "[1-9][0-9]{0,5}(Mi|Gi|M|G)", "write a whole number of up to six digits with Mi, Gi, M or G, such as 4Gi")
}

/// CPU of a container.
pub fn cpu_quantity(_: &mut SchemaGenerator) -> Schema {
    let pattern = "[1-9][0-9]{0,5}m|[1-9][0-9]{0,2}([.][0-9])?|0[.][1-9]";
    text(10, pattern, "write CPUs, such as 2 or 0.5, or thousandths of one, such as 500m")
}

/// Five cron fields, of what both Kubernetes and the operator's own reading of the schedule understand.
pub fn schedule(_: &mut SchemaGenerator) -> Schema {
    let fields = [
        "[0-5]?[0-9]",
        "([01]?[0-9]|2[0-3])",
        "(0?[1-9]|[12][0-9]|3[01])",
        "(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
        "([0-6]|sun|mon|tue|wed|thu|fri|sat)",
    ];
    let fields = fields.map(|value| {
        // To a CronJob Sunday begins the week, and no range ends with it.
        let last = value.replace("|sun", "");
        let entry = format!("(({value}-{last}|[*])(/[1-9][0-9]?)?|{value})");
        format!("{entry}(,{entry})*")
    });
    text(
        100,
        &format!("(?i:{})", fields.join(" +")),
        "write five cron fields: minute 0-59, hour 0-23, day of month 1-31, month 1-12, day of week 0-6 (0 is Sunday, which no range ends with), each a number, a range, * or a list of them, with / for steps of a range or *: 30 1 * * 1-5",
    )
}

/// A time of some minutes or hours, at most a day.
pub fn minutes_or_hours(_: &mut SchemaGenerator) -> Schema {
    let minutes = "([1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m";
    text(6, &format!("({minutes}|([1-9]|1[0-9]|2[0-4])h)"), "write minutes or hours, at most a day: 45m or 3h")
}

/// How far a restore test goes: that of the instance where nothing is said.
pub fn verify_level(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["Data", "Application"] })
}

/// A time of some minutes, hours or days.
pub fn minutes_hours_or_days(_: &mut SchemaGenerator) -> Schema {
    text(5, "[1-9][0-9]{0,3}[mhd]", "write minutes, hours or days: 90m, 26h or 2d")
}

/// Name of a time zone.
pub fn time_zone(_: &mut SchemaGenerator) -> Schema {
    text(64, "[A-Za-z][-+_A-Za-z0-9]*(/[A-Za-z][-+_A-Za-z0-9]*)*", "write the name of a time zone, such as Africa/Kigali")
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

const CONFIG_KEYS_MESSAGE: &str = "keys are those of dhis.conf in lower case, and not those that the operator sets itself (connection.*, filestore.*, redis.*, encryption.*, flyway.*, cluster.*, server.base.url, server.https, node.id, system.read_only_mode, active.read.replicas)";

/// `config`: bounded, no owned key, no password, no line break in a value.
pub fn config(_: &mut SchemaGenerator) -> Schema {
    let rules = serde_json::json!([
        { "rule": format!("self.all(k, {})", config_keys()), "message": CONFIG_KEYS_MESSAGE },
        { "rule": "self.all(k, !k.matches('(password|secret)$'))", "message": "everybody who reads ConfigMaps would read it: put a password into a Secret and name that in secretConfig" },
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

const JAVA_OPTION: &str = "-(XX:[-+]?[A-Za-z0-9_]+(=[-_.:/%A-Za-z0-9]+)?|D[-_.A-Za-z0-9]+(=[-_.:/,%A-Za-z0-9]*)?)";

/// Java options: `-XX:` and `-D` without code loading and without those that the operator sets.
pub fn java_options(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 32,
        "items": text(256, JAVA_OPTION, "only -XX: and -D options without blanks and quotes are taken, such as -XX:MaxGCPauseMillis=1500; for the heap set spec.java.heapPercent"),
        "x-kubernetes-validations": [{
            "rule": "self.all(o, !o.matches('^-XX:(On|Flags|VMOptionsFile|MaxRAM|InitialRAM|MinRAM|MaxHeapSize|InitialHeapSize|SharedArchiveFile|.*Path=)|^-D(catalina[.]|context[.]path|java[.](class|endorsed|ext|library|system)[.]|java[.]io[.]tmpdir|log4j|dhis2[.]home|java[.]security|javax[.]net|com[.]sun[.]management|jdk[.])'))",
            "message": "options that load code or that the operator sets itself are refused (-XX:On…, -XX:Flags, heap sizes, -Dcatalina…, -Dcontext.path, -Djava.class.path, -Djava.io.tmpdir, -Dlog4j…)",
        }],
    })
}

/// Keys of labels and annotations.
const KEY: &str = "k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$') && k.size() <= 317";
const LABEL_VALUE: &str = "self[k].matches('^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$')";
const LABEL_MESSAGE: &str =
    "keys and values must be those of Kubernetes labels: letters, digits, -, _ and ., beginning and ending with a letter or digit";

/// Labels of other objects.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    string_map(32, 63, &keys_rule(&format!("{KEY} && {LABEL_VALUE}"), LABEL_MESSAGE))
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
            { "rule": format!("self.all(k, {KEY} && {LABEL_VALUE})"), "message": LABEL_MESSAGE },
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
            { "rule": format!("self.all(k, {KEY})"), "message": "keys must be those of Kubernetes annotations, such as example.org/contact" },
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
            { "rule": "self.all(k, self[k].matches('^[-A-Za-z0-9 .,:/_@*=]*$'))", "message": "values may hold letters, digits, blanks and - . , : / _ @ * = only, since controllers copy them into their configuration" },
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

/// Constraints that differ in key and effect, as the pod API wants them.
pub fn spread_once(schema: &mut Schema) {
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".into(), serde_json::json!(["topologyKey", "whenUnsatisfiable"]));
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
