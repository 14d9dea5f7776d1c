//! Instances for tests: a plain one, and any.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{Affinity, Toleration, TopologySpreadConstraint},
        networking::v1::{IPBlock, NetworkPolicyPeer},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use proptest::{
    bool,
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::{Index, select, subsequence},
    string::string_regex,
};
use serde_json::Value;

use super::{Wanted, desired};
use crate::{
    api::{
        backup::{Retention, VerifyLevel},
        bootstrap::FromDump,
        instance::{SecretKey, Size},
        pod::Pod,
        restore::Phase,
        schema::PARAMETERS,
        web::{Issuer, IssuerKind},
    },
    dhis2::sizing::{heap_mib, preset},
    operator::{
        instance::{
            Analytics, Application, Backup, BackupCopy, Bucket, Claims, Database, EncryptionKey, Endpoint, Errand, Images, Instance,
            Origin, Place, Preparing, Repository, Restoring, SetSource, Stage, Storage, Task, Web,
        },
        kind::Kind,
    },
};

/// The stage at which everything exists that goes on existing.
pub const SECURED: Stage = Stage {
    prepared: true,
    built: true,
    application: true,
    secured: true,
    taken: false,
    first_backup: false,
    upgrading: false,
    held: false,
    downgrade: false,
    migrating: false,
};

/// The stage at which nothing is there.
const EMPTY: Stage = Stage {
    prepared: false,
    built: false,
    application: false,
    secured: false,
    taken: false,
    first_backup: false,
    upgrading: false,
    held: false,
    downgrade: false,
    migrating: false,
};

/// All stages in their order; together they show every object.
pub const STAGES: [Stage; 5] = [
    EMPTY,
    Stage { prepared: true, ..EMPTY },
    Stage { application: false, secured: false, ..SECURED },
    Stage { secured: false, ..SECURED },
    Stage { first_backup: true, ..SECURED },
];

/// The claims of a new instance.
fn claims_of(name: &str) -> Claims {
    let [database, files, backups] = ["database", "files", "backups"].map(|part| format!("{name}-{part}"));
    Claims { database, system_identifier: Some("7".into()), files, backups, lost: Vec::new(), kept: Vec::new() }
}

/// What examples/minimal.yaml becomes.
pub fn plain() -> Instance {
    let preset = preset(Size::Small);
    let owner = OwnerReference {
        api_version: "dhis2.hosting/v1alpha1".into(),
        kind: "Dhis2Instance".into(),
        name: "play".into(),
        uid: "uid-1".into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Instance {
        name: "play".into(),
        namespace: "demo".into(),
        uid: "uid-1".into(),
        owner,
        version: "2.42.4.1".parse().unwrap(),
        images: Images {
            dhis2: "docker.io/dhis2/core:2.42.4.1".into(),
            dhis2_pull_policy: "IfNotPresent",
            postgres: "docker.io/postgis/postgis:17-3.5".into(),
            agent: "example.org/dhis2-operator:0.1.0".into(),
            agent_pull_policy: "IfNotPresent".into(),
            pull_secrets: Vec::new(),
        },
        web: Web {
            host: "play.localhost".into(),
            path: "/".into(),
            context: String::new(),
            https: false,
            tls_secret: None,
            issuer: None,
            ingress_class: None,
            annotations: BTreeMap::new(),
        },
        application: Application {
            memory_mib: 3072,
            heap_mib: heap_mib(3072, 65),
            cpu: preset.cpu.into(),
            cpu_limit: None,
            pool: preset.pool,
            java_options: Vec::new(),
            config: BTreeMap::new(),
            secret_config: BTreeMap::new(),
        },
        database: Database {
            major: 17,
            memory_mib: 1024,
            cpu: preset.database_cpu.into(),
            cpu_limit: None,
            storage: Storage { size: preset.database_volume.into(), class: None },
            capacity: None,
            parameters: BTreeMap::new(),
        },
        claims: claims_of("play"),
        source: None,
        restoring: None,
        preparing: None,
        analytics: None,
        defect: None,
        errand: None,
        running: None,
        patience: 7200,
        files: Storage { size: preset.files_volume.into(), class: None },
        repository: Repository::Volume(Storage { size: preset.backups_volume.into(), class: None }),
        copies: Vec::new(),
        scratch: Storage { size: "30Gi".into(), class: None },
        encryption: EncryptionKey::Secret { name: "play-encryption".into(), generated: true },
        pod: Pod::default(),
        policies: true,
        clients: Vec::new(),
        backup: Backup {
            schedule: "17 2 * * *".into(),
            time_zone: None,
            retention: Retention::default(),
            append_only: false,
            suspend: false,
            accepted: None,
            verify_schedule: "30 7 * * 6".into(),
            verify_suspend: false,
            verify_level: VerifyLevel::Data,
        },
        retain: true,
        adopt: false,
        resource: r#"{"kind":"Dhis2Instance"}"#.into(),
        stage: SECURED,
    }
}

/// The same, with its sets in a bucket of this server.
pub fn in_bucket(endpoint: Endpoint) -> Instance {
    let bucket = Bucket {
        url: format!("s3:https://{}:{}/sets/demo/play", endpoint.host, endpoint.port),
        path_style: true,
        endpoint,
        region: Some("eu-west-1".into()),
        limits: [None; 2],
        credentials: "s3-credentials".into(),
        ca: Some("s3-ca".into()),
        left: None,
    };
    Instance { repository: Repository::S3(bucket), ..plain() }
}

/// The same, with a copy of its sets in a bucket.
pub fn copying(instance: &Instance) -> Instance {
    let Repository::S3(bucket) = in_bucket(Endpoint { host: "away.example.org".into(), port: 443 }).repository else { panic!("no bucket") };
    let schedule = "40 6 * * *".to_owned();
    let verify_schedule = Some("0 12 1 * *".to_owned());
    let copy = BackupCopy { name: "away".into(), bucket, password: "key-of-theirs".into(), schedule, append_only: false, verify_schedule };
    Instance { copies: vec![copy], ..instance.clone() }
}

/// The same, with restore tests that start DHIS2.
pub fn testing_with_dhis2(instance: &Instance) -> Instance {
    let mut instance = instance.clone();
    instance.backup.verify_level = VerifyLevel::Application;
    instance
}

/// The phases of a restore in which objects are made or stopped for it.
pub const PHASES: [Phase; 4] = [Phase::Building, Phase::BackingUp, Phase::Stopping, Phase::Starting];

/// The instance while a restore is in this phase.
pub fn restoring(instance: &Instance, phase: Phase) -> Instance {
    let [database, files] = ["database", "files"].map(|part| format!("{}-{part}-2", instance.name));
    let uid = "0123456789".to_owned();
    let restoring =
        Restoring { phase, uid, set: Some("kept".into()), before: None, leaves_out: false, from: Some(SetSource::Own), database, files };
    Instance { restoring: Some(restoring), ..instance.clone() }
}

/// The instance while a set of its copy is restored.
pub fn restoring_from_a_copy(instance: &Instance) -> Instance {
    let mut instance = restoring(instance, Phase::Building);
    let from = Origin { named_by: "copy", set: Some("kept".into()), ..origin() };
    instance.restoring.as_mut().unwrap().from = Some(SetSource::Other(Box::new(from)));
    instance
}

/// The phases of an upgrade before DHIS2 is stopped.
pub const PREPARATIONS: [Phase; 4] = [Phase::Checking, Phase::Proving, Phase::Rehearsing, Phase::BackingUp];

/// The instance while this is done before an upgrade.
pub fn upgrading(instance: &Instance, phase: Phase) -> Instance {
    let stage = Stage { upgrading: true, held: true, ..SECURED };
    let preparing = Some(Preparing { phase, generation: 7 });
    Instance { stage, preparing, running: Some("2.41.8".parse().unwrap()), ..instance.clone() }
}

/// The instance while this is carried out that a person asked for.
pub fn asked(instance: &Instance, task: Task, set: Option<&str>) -> Instance {
    let errand = Errand { task, uid: "01234567-89ab-cdef".into(), set: set.map(str::to_owned), copy: None, level: None };
    Instance { errand: Some(errand), ..instance.clone() }
}

/// The instance while a set of this copy is tested.
pub fn testing_a_copy(instance: &Instance, copy: &str) -> Instance {
    let errand = Errand { task: Task::RestoreTest, uid: "fedcba98-7654".into(), set: None, copy: Some(copy.into()), level: None };
    Instance { errand: Some(errand), ..instance.clone() }
}

/// The instance while it lacks its analytics tables.
pub fn generating(instance: &Instance) -> Instance {
    Instance { analytics: Some(Analytics { run: 3, all: false }), ..instance.clone() }
}

/// The object of this kind and name at the stage where everything runs.
pub fn object(instance: &Instance, kind: Kind, name: &str) -> Value {
    find(&desired(instance), kind, name).unwrap_or_else(|| panic!("no {kind:?} {name}"))
}

/// The object of this kind and name.
pub fn find(wanted: &[Wanted], kind: Kind, name: &str) -> Option<Value> {
    wanted.iter().find(|wanted| wanted.kind == kind && wanted.name == name).map(|wanted| wanted.object.clone())
}

/// What people bring to a new instance.
pub fn dump() -> FromDump {
    FromDump { volume_claim: "old-server".into(), path: "old/dhis2.sql.gz".into(), files_path: Some("old/files".into()) }
}

/// Another instance's set in a bucket.
pub fn origin() -> Origin {
    let Repository::S3(bucket) = in_bucket(Endpoint { host: "s3.example.org".into(), port: 443 }).repository else { panic!("no bucket") };
    Origin { place: Place::S3(bucket), named_by: "bootstrap", password: "old-backup".into(), set: None, before: None, leaves_out: false }
}

/// Every object that the instance has at some stage, once.
pub fn at_all_stages(instance: &Instance) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let stages = STAGES.into_iter().map(|stage| Instance { stage, ..instance.clone() });
    let errands = [
        asked(instance, Task::Backup, None),
        asked(instance, Task::RestoreTest, Some("kept")),
        asked(instance, Task::Removal, Some("old")),
    ];
    let upgrades = PREPARATIONS.map(|phase| upgrading(instance, phase));
    let of_copies = instance.copies.iter().map(|copy| testing_a_copy(instance, &copy.name));
    let rare = PHASES.map(|phase| restoring(instance, phase)).into_iter().chain(upgrades).chain(errands).chain([generating(instance)]);
    let rare = rare.chain(of_copies);
    for wanted in stages.chain(rare).flat_map(|instance| desired(&instance)) {
        if all.iter().all(|known| (known.kind, &known.name) != (wanted.kind, &wanted.name)) {
            all.push(wanted);
        }
    }
    all
}

/// Any instance that the CRD's rules let in.
pub fn any() -> impl Strategy<Value = Instance> {
    let flags = (bool::ANY, bool::ANY, bool::ANY, bool::ANY, bool::ANY);
    (identity(), web(), application(), database(), placement(), (encryption(), flags, clients())).prop_map(
        |(identity, web, application, database, pod, (encryption, (retain, adopt, policies, in_s3, with_dhis2), clients))| {
            let (name, namespace) = identity;
            let encryption = match encryption {
                Some(true) => EncryptionKey::Secret { name: format!("{name}-encryption"), generated: true },
                Some(false) => EncryptionKey::Secret { name: "key-of-theirs".into(), generated: false },
                None => EncryptionKey::Default,
            };
            let server = || Endpoint { host: "s3.example.org".into(), port: 443 };
            let plain = copying(&if in_s3 { in_bucket(server()) } else { plain() });
            let plain = if with_dhis2 { testing_with_dhis2(&plain) } else { plain };
            let owner = OwnerReference { name: name.clone(), ..plain.owner.clone() };
            let claims = claims_of(&name);
            Instance {
                name,
                namespace,
                owner,
                web,
                application,
                database,
                claims,
                encryption,
                pod,
                policies,
                clients,
                retain,
                adopt,
                ..plain
            }
        },
    )
}

/// Texts of a pattern that is read once, not for each text.
fn text(pattern: &str) -> impl Strategy<Value = String> + use<> {
    string_regex(pattern).unwrap()
}

fn identity() -> impl Strategy<Value = (String, String)> {
    (text("[a-z]([-a-z0-9]{0,38}[a-z0-9])?"), text("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"))
}

fn web() -> impl Strategy<Value = Web> {
    let context = text("(/[a-zA-Z0-9_-]{1,12}){0,2}");
    let class = option::of(select(vec!["nginx", "traefik", "haproxy", "internal"]));
    let issuer = option::of(select(vec![IssuerKind::Issuer, IssuerKind::ClusterIssuer]));
    (context, text("[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,20}){0,3}"), bool::ANY, class, issuer, option::of(text("[a-z]{1,20}"))).prop_map(
        |(context, host, https, class, issuer, tls_secret)| Web {
            host,
            path: if context.is_empty() { "/".into() } else { context.clone() },
            context,
            https,
            tls_secret,
            issuer: issuer.map(|kind| Issuer { name: "ca".into(), kind }),
            ingress_class: class.map(str::to_owned),
            annotations: BTreeMap::new(),
        },
    )
}

fn application() -> impl Strategy<Value = Application> {
    let config = btree_map(text("[a-z][a-z0-9_.-]{0,20}"), text("[ -~é]{0,40}"), 0..5);
    let secret_config = btree_map(text("[a-z][a-z0-9_.-]{0,20}"), (text("[a-z]{1,20}"), text("[-._a-zA-Z0-9]{1,20}")), 0..3);
    let options = vec(text("-XX:[A-Z][A-Za-z]{1,20}=[0-9]{1,3}"), 0..3);
    (1024_i64..65536, cpu(), option::of(cpu()), config, secret_config, options).prop_map(
        |(memory_mib, cpu, cpu_limit, config, secret_config, java_options)| Application {
            memory_mib,
            heap_mib: heap_mib(memory_mib, 65),
            cpu,
            cpu_limit,
            pool: 40,
            java_options,
            config,
            secret_config: secret_config
                .into_iter()
                .map(|(key, (secret_name, secret_key))| (key, SecretKey { secret_name, key: secret_key }))
                .collect(),
        },
    )
}

fn database() -> impl Strategy<Value = Database> {
    let parameters = subsequence(PARAMETERS.to_vec(), 0..5)
        .prop_map(|names| names.into_iter().map(|name| (name.to_owned(), "128".to_owned())).collect());
    let storage = (text("[1-9][0-9]{0,3}Gi"), option::of(text("[a-z]{1,20}"))).prop_map(|(size, class)| Storage { size, class });
    (256_i64..65536, cpu(), storage, parameters).prop_map(|(memory_mib, cpu, storage, parameters)| Database {
        memory_mib,
        cpu,
        storage,
        parameters,
        ..plain().database
    })
}

fn cpu() -> impl Strategy<Value = String> {
    text("([1-9][0-9]{0,3}m|[1-9](\\.[0-9])?|0\\.[1-9])")
}

fn encryption() -> impl Strategy<Value = Option<bool>> {
    option::of(bool::ANY)
}

fn placement() -> impl Strategy<Value = Pod> {
    let labels = || btree_map(text("example\\.org/[a-z]{1,10}"), text("[a-z]{0,10}"), 0..3);
    (labels(), labels(), labels(), bool::ANY, option::of(text("[a-z]{1,20}"))).prop_map(
        |(labels, annotations, node_selector, placed, priority)| Pod {
            node_selector,
            tolerations: if placed { vec![Toleration { operator: Some("Exists".into()), ..Toleration::default() }] } else { Vec::new() },
            affinity: placed.then(Affinity::default),
            topology_spread_constraints: if placed {
                vec![TopologySpreadConstraint { topology_key: "zone".into(), ..TopologySpreadConstraint::default() }]
            } else {
                Vec::new()
            },
            priority_class_name: priority,
            labels,
            annotations,
        },
    )
}

fn clients() -> impl Strategy<Value = Vec<NetworkPolicyPeer>> {
    let block = |index: Index| IPBlock { cidr: format!("192.0.2.{}/32", index.index(256)), except: None };
    vec(
        proptest::arbitrary::any::<Index>()
            .prop_map(move |index| NetworkPolicyPeer { ip_block: Some(block(index)), ..NetworkPolicyPeer::default() }),
        0..3,
    )
}
