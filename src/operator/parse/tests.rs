use super::*;
use crate::operator::observe::SecretSeen;
use crate::{
    api::status::{Claims, DatabaseStatus, Dhis2InstanceStatus, Made, OperationStatus},
    operator::slot::{
        Facts, Pod, Role, Slot,
        fixture::{self, owned, slot},
    },
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

fn resource(spec: serde_json::Value) -> Dhis2Instance {
    let mut resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
    resource.metadata.namespace = Some("ns".into());
    resource.metadata.uid = Some("uid-1".into());
    resource
}

fn minimal() -> Dhis2Instance {
    resource(json!({"version": "2.42.4", "web": {"host": "play.example.org"}}))
}

fn settings() -> Settings {
    Settings {
        dhis2_repository: "docker.io/dhis2/core".into(),
        postgres_image: "postgis".into(),
        image: "operator:1".into(),
        ..Settings::default()
    }
}

proptest::proptest! {
    #[test]
    fn no_annotation_changes_what_is_wanted(words in proptest::collection::btree_map("(dhis2\\.hosting/)?[a-zA-Z]{1,16}", "true|false|force|.{0,20}", 0..6)) {
        let mut annotated = minimal();
        annotated.metadata.annotations = Some(words);
        let wanted = |resource: &Dhis2Instance| parse(resource, &Observed::default(), &settings());
        proptest::prop_assert_eq!(wanted(&annotated), wanted(&minimal()));
    }
}

#[test]
fn nothing_is_made_without_the_key_that_the_user_named() {
    let missing = Observed { missing: [(ENCRYPTION_KEY.to_owned(), "key".to_owned())].into(), ..Observed::default() };
    let refusal = parse(&minimal(), &missing, &settings()).unwrap_err();
    assert_eq!(refusal.reason, Reason::SecretMissing);
    assert!(refusal.message.contains("Secret key of spec.encryption.secretName"), "{}", refusal.message);
}

fn claim(uid: &str, requested: &str, deleting: bool) -> Slot {
    let facts = fixture::claim(requested, None, None);
    Slot { maker: Some("uid-1".into()), deleting, ..slot(uid, facts) }
}

fn with_claim(slot: Option<Slot>) -> (Dhis2Instance, Observed) {
    let mut resource = minimal();
    let database = Some(Made { name: "play-database".into(), uid: "claim-1".into() });
    resource.status = Some(Dhis2InstanceStatus {
        claims: Some(Claims { database, ..Claims::default() }),
        database: Some(DatabaseStatus {
            built: Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap()),
            system_identifier: None,
        }),
        ..Dhis2InstanceStatus::default()
    });
    let mut observed = Observed::default();
    if let Some(slot) = slot {
        observed.children.insert(Kind::PersistentVolumeClaim, "play-database", slot);
    }
    (resource, observed)
}

#[test]
fn ten_lines_are_enough() {
    let instance = parse(&minimal(), &Observed::default(), &settings()).unwrap();
    assert_eq!(instance.images.dhis2, "docker.io/dhis2/core:2.42.4.0");
    assert_eq!(instance.web.url(), "http://play.example.org");
    assert_eq!((instance.application.memory_mib, instance.application.heap_mib), (3072, 1996));
    assert_eq!(instance.database.storage.size, "20Gi");
    assert_eq!(instance.stage, Stage::default());
}

#[test]
fn a_lost_volume_stops_everything() {
    for slot in [None, Some(claim("claim-2", "20Gi", false)), Some(claim("claim-1", "20Gi", true))] {
        let (resource, observed) = with_claim(slot);
        assert_eq!(parse(&resource, &observed, &settings()).unwrap_err().reason, Reason::VolumeLost);
    }
    let (resource, observed) = with_claim(Some(claim("claim-1", "20Gi", false)));
    assert!(parse(&resource, &observed, &settings()).is_ok());
}

#[test]
fn a_volume_never_shrinks() {
    let (resource, observed) = with_claim(Some(claim("claim-1", "100Gi", false)));
    assert_eq!(parse(&resource, &observed, &settings()).unwrap().database.storage.size, "100Gi");
}

#[test]
fn a_claim_that_was_brought_back_is_taken_over_when_asked() {
    let (mut resource, observed) = with_claim(Some(claim("claim-2", "20Gi", false)));
    resource.spec.adopt = true;
    assert!(parse(&resource, &observed, &settings()).is_ok());
}

#[test]
fn a_lost_secret_stops_everything_until_it_is_back() {
    let mut resource = minimal();
    let made = Made { name: "play-encryption".into(), uid: "secret-1".into() };
    resource.status = Some(Dhis2InstanceStatus { secrets: vec![made], ..Dhis2InstanceStatus::default() });
    let mut observed = Observed::default();
    assert_eq!(parse(&resource, &observed, &settings()).unwrap_err().reason, Reason::SecretLost);
    observed.secrets.insert("play-encryption".into(), SecretSeen { uid: "secret-2".into(), owned: None });
    assert!(parse(&resource, &observed, &settings()).is_ok());
}

/// Bad input that only the operator sees.
#[derive(serde::Deserialize)]
struct Told {
    spec: serde_json::Value,
    reason: Reason,
    field: String,
    says: String,
}

#[test]
fn what_can_not_be_used_is_refused_with_its_field() {
    let mut table: std::collections::BTreeMap<String, serde_yaml::Value> =
        serde_yaml::from_str(include_str!("../../../tests/bad_input.yaml")).unwrap();
    let told: Vec<Told> = serde_yaml::from_value(table.remove("told").unwrap()).unwrap();
    for Told { mut spec, reason, field, says } in told {
        spec["version"] = json!("2.42.4");
        spec["web"] = json!({"host": "play.example.org"});
        let refusal = parse(&resource(spec), &Observed::default(), &settings()).unwrap_err();
        assert_eq!(refusal.reason, reason, "{field}");
        assert!(refusal.message.starts_with(&format!("{field}: ")) && refusal.message.contains(&says), "{}", refusal.message);
    }
}

#[test]
fn the_base_url_follows_path_and_tls() {
    for (web, url) in [
        (json!({"host": "h.org", "path": "/hmis", "tls": {"upstream": true}}), "https://h.org/hmis"),
        (json!({"host": "h.org", "tls": {"secretName": "cert"}}), "https://h.org"),
        (json!({"host": "h.org", "tls": {"none": true}}), "http://h.org"),
    ] {
        let instance = parse(&resource(json!({"version": "2.42.4", "web": web})), &Observed::default(), &settings()).unwrap();
        assert_eq!(instance.web.url(), url);
    }
}

#[test]
fn what_the_database_is_and_has_is_known() {
    let database = Some(Made { name: "play-database".into(), uid: "1".into() });
    let recorded = DatabaseStatus { system_identifier: Some("7".into()), ..DatabaseStatus::default() };
    let status = Dhis2InstanceStatus {
        claims: Some(Claims { database, ..Claims::default() }),
        database: Some(recorded),
        ..Dhis2InstanceStatus::default()
    };
    let resource = Dhis2Instance { status: Some(status), ..minimal() };
    let mut observed = Observed::default();
    let bound = slot("1", fixture::claim("20Gi", Some("10Gi"), None));
    observed.children.insert(Kind::PersistentVolumeClaim, "play-database", bound);
    let instance = assume(&resource, &observed, &Settings::default()).unwrap();
    assert_eq!((instance.claims.system_identifier.as_deref(), instance.database.capacity.as_deref()), (Some("7"), Some("10Gi")));
}

#[test]
fn an_instance_is_prepared_when_all_that_lasts_is_recorded() {
    let made = |name: &str| Made { name: name.into(), uid: "1".into() };
    let whole = || Dhis2InstanceStatus {
        secrets: ["admin", "backup", "database", "encryption"].map(made).into(),
        claims: Some(Claims { database: Some(made("d")), files: Some(made("f")), backups: Some(made("b")) }),
        ..Dhis2InstanceStatus::default()
    };
    let without = |take: fn(&mut Dhis2InstanceStatus)| {
        let mut status = whole();
        take(&mut status);
        let resource = Dhis2Instance { status: Some(status), ..minimal() };
        stage(&resource, &Observed::default(), &EncryptionKey::Secret { name: "play-encryption".into(), generated: true }, version())
            .prepared
    };
    assert!(without(|_| ()));
    assert!(!without(|status| drop(status.secrets.pop())));
    assert!(!without(|status| status.claims.as_mut().unwrap().database = None));
    assert!(!without(|status| status.claims.as_mut().unwrap().files = None));
    assert!(!without(|status| status.claims.as_mut().unwrap().backups = None));
    assert!(!without(|status| status.claims = None));
}

#[test]
fn dhis2_is_started_when_its_database_answers_and_stays_when_it_does_not() {
    let built = Some(DatabaseStatus { built: Some(Time(Timestamp::UNIX_EPOCH)), system_identifier: None });
    let due = |built: &Option<DatabaseStatus>, database: bool, dhis2: bool| {
        let status = Dhis2InstanceStatus { database: built.clone(), ..Dhis2InstanceStatus::default() };
        let resource = Dhis2Instance { status: Some(status), ..minimal() };
        let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
        if database {
            let pod = Pod { ready: true, ..Pod::default() };
            observed.children.insert(Kind::StatefulSet, "play-database", owned("set", "uid-1", Facts::Plain));
            observed.children.insert(Kind::Pod, "play-database-0", owned("pod", "set", Facts::Pod(Box::new(pod))));
        }
        if dhis2 {
            observed.children.insert(Kind::StatefulSet, "play", owned("dhis2", "uid-1", Facts::Plain));
        }
        stage(&resource, &observed, &EncryptionKey::Default, version()).application
    };
    assert_eq!([(false, false), (true, false), (false, true)].map(|(database, dhis2)| due(&built, database, dhis2)), [false, true, true]);
    assert!(!due(&None, true, true), "there is no database yet");
}

fn version() -> Version {
    "2.42.4".parse().unwrap()
}

#[test]
fn after_a_restore_the_claims_that_it_was_served_from_are_taken_over() {
    let mut adopting = minimal();
    adopting.spec.adopt = true;
    let with = |roles: [(&str, Option<Role>); 3]| {
        let mut observed = Observed::default();
        for (name, role) in roles {
            let facts = fixture::claim("20Gi", None, role);
            observed.children.insert(Kind::PersistentVolumeClaim, name, Slot { maker: Some("uid-0".into()), ..slot(name, facts) });
        }
        observed
    };
    let database = |resource: &Dhis2Instance, observed: &Observed| parse(resource, observed, &settings()).unwrap().claims.database;
    let restored = with([("play-database", Some(Role::Replaced)), ("play-database-2", None), ("play-database-3", Some(Role::Building))]);
    assert_eq!(database(&adopting, &restored), "play-database-2");
    let taken_back = with([("play-database", None), ("play-database-2", Some(Role::Replaced)), ("other-database-9", None)]);
    assert_eq!(database(&adopting, &taken_back), "play-database");
    let switching = with([("play-database", None), ("play-database-2", None), ("play-database-x", None)]);
    assert_eq!(database(&adopting, &switching), "play-database-2", "both could be meant: the newer one was whole before it said so");
    assert_eq!(database(&minimal(), &restored), "play-database", "nobody said that anything is to be taken over");
}

#[test]
fn a_restore_may_replace_what_is_lost_but_not_the_backups() {
    let made = |name: &str| Some(Made { name: name.into(), uid: name.into() });
    let mut resource = minimal();
    let claims = Claims { database: made("play-database"), files: made("play-files"), backups: made("play-backups") };
    let operation =
        |phase: &str| Some(OperationStatus { kind: "Restore".into(), phase: phase.into(), number: 2, ..OperationStatus::default() });
    let mut observed = Observed::default();
    observed.children.insert(Kind::PersistentVolumeClaim, "play-backups", claim("play-backups", "30Gi", false));
    let mut reason = |phase: &str, observed: &Observed| {
        let status = Dhis2InstanceStatus {
            claims: Some(claims.clone()),
            operation: operation(phase).map(Box::new),
            ..Dhis2InstanceStatus::default()
        };
        resource.status = Some(status);
        parse(&resource, observed, &settings()).err().map(|refusal| refusal.reason)
    };
    for phase in ["Building", "BackingUp", "Stopping", "Failed"] {
        assert_eq!(reason(phase, &observed), None, "{phase}");
        assert_eq!(reason(phase, &Observed::default()), Some(Reason::VolumeLost), "{phase}, without the backups");
    }
    for phase in ["Starting", "Done"] {
        assert_eq!(reason(phase, &observed), Some(Reason::VolumeLost), "{phase}: it is served from them");
    }
}
