use serde_json::json;

use super::*;
use crate::operator::observe::SecretSeen;
use crate::{
    api::status::{Claims, DatabaseStatus},
    operator::{
        parse::parse,
        settings::Settings,
        slot::{
            Facts, Pod, Slot,
            fixture::{claim, owned},
        },
        trouble::{Silence, Trouble},
    },
    report::{AdminPassword, Bootstrapped, Built, Data, Outcome as Ended, Report, Verb},
};

fn resource() -> Dhis2Instance {
    serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 3},
        "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}}
    }))
    .unwrap()
}

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn report(verb: Verb, data: Data) -> Report {
    Report { verb, outcome: Ended::Done, reason: None, message: String::new(), data: Some(data) }
}

fn seen() -> Observed {
    Observed { instance: "uid-1".into(), ..Observed::default() }
}

/// A step that ended well, with the report of its pod.
fn step(observed: &mut Observed, job: &str, report: Report) {
    observed.children.insert(Kind::Job, job, owned(job, "uid-1", Facts::Job { finished: Some(true) }));
    let pod = Pod { ended: true, reports: vec![report], ..Pod::default() };
    observed.children.insert(Kind::Pod, &format!("{job}-x"), owned(&format!("{job}-x"), job, Facts::Pod(Box::new(pod))));
}

fn server(observed: &mut Observed, set: &str, pod: Pod) {
    observed.children.insert(Kind::StatefulSet, set, owned(set, "uid-1", Facts::Plain));
    observed.children.insert(Kind::Pod, &format!("{set}-0"), owned(&format!("{set}-0"), set, Facts::Pod(Box::new(pod))));
}

fn ready_pod() -> Pod {
    Pod { ready: true, ..Pod::default() }
}

/// The status after a pass in which everything due was written.
fn told(resource: &Dhis2Instance, observed: &Observed) -> Dhis2InstanceStatus {
    let mut seen = observed.clone();
    for made in resource.status.iter().flat_map(|status| &status.secrets) {
        seen.secrets.insert(made.name.clone(), SecretSeen { uid: made.uid.clone(), owned: None });
    }
    let instance = Box::new(parse(resource, &seen, &Settings::default()).unwrap());
    status(
        resource,
        &seen,
        &Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet: true },
        now(),
    )
}

fn of<'a>(status: &'a Dhis2InstanceStatus, kind: &str) -> (&'a str, &'a str) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (&condition.status, &condition.reason)
}

/// Everything that a serving instance has.
fn serving() -> Observed {
    let mut observed = seen();
    let built = Built { instance: "uid-1".into(), postgresql: 17, system_identifier: "7".into(), built_at: "2026-11-25T11:00:00Z".into() };
    step(&mut observed, "play-database-build", report(Verb::DatabaseBuild, Data::DatabaseBuild(built)));
    let bootstrapped =
        Bootstrapped { version: "2.42.4".parse().unwrap(), admin_password: AdminPassword::Generated, district_refused: true };
    step(&mut observed, "play-bootstrap", report(Verb::Bootstrap, Data::Bootstrap(bootstrapped)));
    server(&mut observed, "play-database", ready_pod());
    server(&mut observed, "play", ready_pod());
    observed.children.insert(Kind::Ingress, "play", owned("ingress", "uid-1", Facts::Plain));
    observed
}

#[test]
fn a_serving_instance_is_ready_and_settled() {
    let status = told(&resource(), &serving());
    assert_eq!(of(&status, "Ready"), ("True", "Serving"));
    assert_eq!(of(&status, "Reconciling"), ("False", "Settled"));
    assert_eq!(of(&status, "Stalled"), ("False", "Unobstructed"));
    assert_eq!(status.url.as_deref(), Some("http://play.example.org"));
    assert_eq!(status.version.as_ref().unwrap().running.as_deref(), Some("2.42.4"));
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
}

#[test]
fn the_same_facts_give_the_same_status_at_any_time() {
    let mut resource = resource();
    let first = told(&resource, &serving());
    resource.status = Some(first.clone());
    let later = told(&resource, &serving());
    assert_eq!(first, later);
}

#[test]
fn what_was_achieved_stays_recorded_when_its_step_is_gone() {
    let mut resource = resource();
    resource.status = Some(told(&resource, &serving()));
    let mut observed = serving();
    for (kind, name, _) in serving().children.iter().filter(|(kind, name, _)| *kind == Kind::Job || name.ends_with("-x")) {
        observed.children.remove(kind, name);
    }
    let status = told(&resource, &observed);
    assert_eq!(of(&status, "Ready"), ("True", "Serving"));
    assert!(status.admin.is_some() && status.database.is_some());
}

#[test]
fn the_door_is_not_open_while_district_is_accepted() {
    let mut observed = serving();
    let bootstrapped = Bootstrapped { version: "2.42.4".parse().unwrap(), admin_password: AdminPassword::Foreign, district_refused: false };
    step(&mut observed, "play-bootstrap", report(Verb::Bootstrap, Data::Bootstrap(bootstrapped)));
    observed.children.remove(Kind::Ingress, "play");
    let status = told(&resource(), &observed);
    assert_eq!(status.admin, None);
    assert_eq!(of(&status, "Ready"), ("False", "SecuringAdmin"));
}

#[test]
fn a_password_that_people_set_is_theirs_and_opens_the_door() {
    let mut observed = serving();
    let bootstrapped = Bootstrapped { version: "2.42.4".parse().unwrap(), admin_password: AdminPassword::Foreign, district_refused: true };
    step(&mut observed, "play-bootstrap", report(Verb::Bootstrap, Data::Bootstrap(bootstrapped)));
    let status = told(&resource(), &observed);
    assert_eq!(of(&status, "AdminPasswordSet"), ("True", "AdminPasswordForeign"));
    assert_eq!(of(&status, "Ready"), ("True", "Serving"));
}

#[test]
fn what_a_former_instance_of_the_name_left_is_not_believed() {
    let mut observed = serving();
    observed.instance = "uid-2".into();
    let mut resource = resource();
    resource.metadata.uid = Some("uid-2".into());
    let status = told(&resource, &observed);
    assert_eq!((status.admin, status.database, status.url), (None, None, None));
    assert_eq!(of(&told(&resource, &observed), "Ready").0, "False");
}

#[test]
fn what_passes_by_itself_needs_nobody() {
    let mut resource = resource();
    resource.status = Some(told(&resource, &serving()));
    let instance = Box::new(parse(&resource, &serving(), &Settings::default()).unwrap());
    let status = status(&resource, &serving(), &Outcome::Interrupted { instance, made: Vec::new() }, now());
    assert_eq!(of(&status, "Stalled"), ("False", "Unobstructed"));
    assert_eq!(of(&status, "Reconciling"), ("True", "Failed"));
    assert_eq!(of(&status, "Ready"), ("True", "Serving"));
}

#[test]
fn the_first_thing_that_is_missing_is_the_reason() {
    let mut resource = resource();
    assert_eq!(of(&told(&resource, &seen()), "Ready"), ("False", "Creating"));
    let made = |name: &str| Some(crate::api::status::Made { name: name.into(), uid: name.into() });
    let claims = Claims { database: made("play-database"), files: None, backups: None };
    resource.status = Some(Dhis2InstanceStatus { claims: Some(claims), ..Dhis2InstanceStatus::default() });
    let mut observed = seen();
    let claim = owned("play-database", "uid-1", claim("20Gi", None, None));
    observed.children.insert(Kind::PersistentVolumeClaim, "play-database", claim);
    assert_eq!(of(&told(&resource, &observed), "Ready"), ("False", "BuildingDatabase"));
    resource.status.as_mut().unwrap().database = Some(DatabaseStatus { built: None, system_identifier: None });
    assert_eq!(of(&told(&resource, &observed), "Ready"), ("False", "StartingDatabase"));
    server(&mut observed, "play-database", ready_pod());
    server(&mut observed, "play", Pod::default());
    assert_eq!(of(&told(&resource, &observed), "Ready"), ("False", "StartingApplication"));
}

#[test]
fn a_refusal_of_an_agent_stalls_and_says_why() {
    let mut observed = serving();
    let trouble = Some(Trouble { reason: Reason::EncryptionKeyMismatch, message: "not the key".into() });
    server(&mut observed, "play", Pod { trouble, ..Pod::default() });
    let status = told(&resource(), &observed);
    assert_eq!(of(&status, "Ready"), ("False", "EncryptionKeyMismatch"));
    assert_eq!(of(&status, "Stalled"), ("True", "EncryptionKeyMismatch"));
    assert_eq!(of(&status, "Reconciling").0, "False");
}

#[test]
fn a_volume_that_hangs_is_told() {
    for (pod, condition, reason) in
        [("play-database", "DatabaseReady", "DatabaseUnreachable"), ("play", "ApplicationReady", "FilesNotWritable")]
    {
        let mut observed = serving();
        server(&mut observed, pod, Pod { silent: Some(Silence::Watch), ..Pod::default() });
        let status = told(&resource(), &observed);
        assert_eq!(of(&status, condition), ("False", reason));
        assert_eq!(of(&status, "Ready"), ("False", reason));
    }
}

/// A server that was ready and does not answer is neither starting nor restarting.
#[test]
fn a_server_that_fell_silent_is_told() {
    for (pod, part) in [("play", "ApplicationReady"), ("play-database", "DatabaseReady")] {
        let mut observed = serving();
        let resource = Dhis2Instance { status: Some(told(&resource(), &observed)), ..resource() };
        server(&mut observed, pod, Pod { silent: Some(Silence::Server), ..Pod::default() });
        let status = told(&resource, &observed);
        assert_eq!((of(&status, "Ready"), of(&status, part)), (("False", "NotAnswering"), ("False", "NotAnswering")));
        assert_eq!(of(&status, "Stalled").0, "False", "it may answer again by itself");
    }
}

#[test]
fn a_node_that_is_not_heard_of_is_told() {
    for (pod, part) in [("play", "ApplicationReady"), ("play-database", "DatabaseReady")] {
        let mut observed = serving();
        let resource = Dhis2Instance { status: Some(told(&resource(), &observed)), ..resource() };
        server(&mut observed, pod, Pod { silent: Some(Silence::Node), ..Pod::default() });
        let status = told(&resource, &observed);
        assert_eq!((of(&status, "Ready"), of(&status, part)), (("False", "NodeLost"), ("False", "NodeLost")));
        assert_eq!(of(&status, "Stalled").0, "False", "it may come back by itself");
    }
}

#[test]
fn a_refusal_leaves_what_serves_ready() {
    let mut resource = resource();
    resource.status = Some(told(&resource, &serving()));
    let refusal = Refusal::new(Reason::InvalidSchedule, "spec.backup.schedule");
    let status = status(&resource, &serving(), &Outcome::Refused(refusal), now());
    assert_eq!(of(&status, "Ready"), ("True", "Serving"));
    assert_eq!(of(&status, "Stalled"), ("True", "InvalidSchedule"));
}

#[test]
fn what_could_not_be_written_is_told_by_who_refused_it() {
    let refused = |code: u16, reason: &str, message: &str| {
        let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message});
        let source = kube::Error::Api(serde_json::from_value(status).unwrap());
        super::told(&apply::Error::Api { verb: "create", kind: Kind::Service, name: "play".into(), source }).unwrap()
    };
    let role = refused(403, "Forbidden", "services is forbidden: User \"operator\" cannot create resource \"services\"");
    assert_eq!(role.reason, Reason::Forbidden);
    assert!(role.message.starts_with("could not create Service play: ") && role.message.contains("cannot create"), "{}", role.message);
    assert_eq!(refused(403, "Forbidden", "exceeded quota: small").reason, Reason::ObjectRejected);
    let policy = refused(403, "Forbidden", "admission webhook \"a.example.org\" denied the request: a service cannot be without an owner");
    assert_eq!(policy.reason, Reason::ObjectRejected, "no right is missing, whatever words somebody else chooses");
    assert_eq!(refused(422, "Invalid", "spec.ports: Required value").reason, Reason::ObjectRejected);
    assert_eq!(refused(400, "BadRequest", "admission webhook denied the request").reason, Reason::ObjectRejected);
    assert_eq!(refused(500, "InternalError", "etcdserver: request timed out").reason, Reason::Failed);
}

#[test]
fn a_restart_is_work_under_way() {
    let mut resource = resource();
    resource.status = Some(told(&resource, &serving()));
    let mut observed = serving();
    server(&mut observed, "play", Pod { ended: true, ..Pod::default() });
    assert_eq!(of(&told(&resource, &observed), "Ready"), ("False", "Restarting"));
    let instance = Box::new(parse(&resource, &observed, &Settings::default()).unwrap());
    let outcome = Outcome::Applied { instance, made: Vec::new(), restart: Restart::Later, contested: Vec::new(), quiet: true };
    assert_eq!(of(&status(&resource, &observed, &outcome, now()), "Reconciling"), ("True", "Restarting"));
}

#[test]
fn an_application_without_its_database_says_so() {
    let mut resource = resource();
    resource.status = Some(told(&resource, &serving()));
    let mut observed = serving();
    server(&mut observed, "play-database", Pod::default());
    server(&mut observed, "play", Pod::default());
    let status = told(&resource, &observed);
    assert_eq!(of(&status, "ApplicationReady"), ("False", "DatabaseUnreachable"));
    assert_eq!(of(&status, "Ready"), ("False", "StartingDatabase"), "the database is the first thing to look at");
}

#[test]
fn a_pause_is_told_and_its_end_as_well() {
    assert_eq!(of(&told(&resource(), &serving()), "Paused"), ("False", "Active"));
    assert_eq!(of(&status(&resource(), &serving(), &Outcome::Paused, now()), "Paused"), ("True", "Paused"));
}

#[test]
fn a_growing_volume_is_work_under_way() {
    let mut observed = serving();
    let claim = owned("c", "uid-1", claim("100Gi", Some("20Gi"), None));
    observed.children.insert(Kind::PersistentVolumeClaim, "play-database", claim);
    let status = told(&resource(), &observed);
    assert_eq!(of(&status, "Reconciling"), ("True", "GrowingVolume"));
    assert_eq!(of(&status, "Ready").0, "True");
}

#[test]
fn an_ingress_that_is_on_its_way_out_exposes_nothing() {
    let mut observed = serving();
    assert_eq!(of(&told(&resource(), &observed), "Exposed"), ("True", "Done"));
    observed.children.insert(Kind::Ingress, "play", Slot { deleting: true, ..owned("ingress", "uid-1", Facts::Plain) });
    assert_eq!(of(&told(&resource(), &observed), "Exposed").0, "False");
}

#[test]
fn a_certificate_that_is_missing_is_told() {
    let missing = Observed { missing: [(observe::CERTIFICATE.to_owned(), "cert".into())].into(), ..serving() };
    let status = told(&resource(), &missing);
    for kind in ["Exposed", "Ready"] {
        assert_eq!(of(&status, kind), ("False", "SecretMissing"));
    }
    assert_eq!(of(&status, "Stalled"), ("True", "SecretMissing"));
    assert!(status.conditions.iter().any(|condition| condition.message.contains("spec.web.tls.secretName")));
    assert!(revisit(&resource(), &status, &missing, now()) <= Duration::from_mins(5), "nobody tells when it is there");
    assert_eq!(revisit(&resource(), &status, &serving(), now()), Duration::from_hours(24), "the kubelet looks for what its pods miss");
}

#[test]
fn a_lost_secret_is_looked_for_until_it_is_back() {
    let lost = |reason: &str| -> Dhis2InstanceStatus {
        let stalled =
            json!({"type": "Stalled", "status": "True", "reason": reason, "message": "", "lastTransitionTime": now().to_string()});
        serde_json::from_value(json!({ "conditions": [stalled] })).unwrap()
    };
    let after = |seconds: i64| now() + k8s_openapi::jiff::SignedDuration::from_secs(seconds);
    for (missing, wait) in [(-5, 30), (0, 30), (100, 100), (100_000, 300)] {
        assert_eq!(revisit(&resource(), &lost("SecretLost"), &serving(), after(missing)), Duration::from_secs(wait));
    }
    assert_eq!(revisit(&resource(), &lost("InvalidSpec"), &serving(), now()), Duration::from_hours(24), "the resource itself is watched");
}

#[test]
fn a_secret_that_may_not_be_looked_at_is_told_and_one_that_could_not_just_now_is_not() {
    let error = |code, reason: &str| {
        let words = r#"secrets "play-admin" is forbidden: User "operator" cannot get resource "secrets""#;
        let source = kube::Error::Api(kube::core::Status::failure(words, reason).with_code(code).boxed());
        observe::Error { kind: Kind::Secret, name: "play-admin".into(), source }
    };
    assert_eq!(unseen(&error(503, "ServiceUnavailable")), None);
    let refusal = unseen(&error(403, "Forbidden")).unwrap();
    assert_eq!(refusal.reason, Reason::Forbidden);
    let status = status(&resource(), &seen(), &Outcome::Refused(refusal), now());
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert!(stalled.status == "True" && stalled.message.contains("Secret play-admin"), "{stalled:?}");
}

#[test]
fn an_address_of_another_instance_is_told_and_all_else_goes_on() {
    let refusal = Refusal::new(Reason::HostConflict, "play.example.org is the address of instance other");
    let mut observed = Observed { taken: Some(refusal), ..serving() };
    observed.children.remove(Kind::Ingress, "play");
    let status = told(&resource(), &observed);
    for kind in ["Ready", "Exposed"] {
        assert_eq!(of(&status, kind), ("False", "HostConflict"));
    }
    assert_eq!(of(&status, "Stalled"), ("True", "HostConflict"));
    assert_eq!(of(&status, "ApplicationReady"), ("True", "Serving"));
    assert_eq!(status.url, None);
}

/// Its Ingress stays where it was: whoever asks for the old address must still find it taken.
#[test]
fn an_instance_that_wants_a_taken_address_keeps_its_own() {
    let mut resource = resource();
    resource.status = Some(told(&resource, &serving()));
    resource.spec.web.host = "other.example.org".into();
    let taken = Some(Refusal::new(Reason::HostConflict, ""));
    let status = told(&resource, &Observed { taken, ..serving() });
    assert_eq!(status.url.as_deref(), Some("http://play.example.org"));
    let mut without = serving();
    without.children.remove(Kind::Ingress, "play");
    assert_eq!(told(&resource, &without).url.as_deref(), Some("http://play.example.org"), "an Ingress is made anew in a moment");
    assert_eq!(told(&resource, &serving()).url.as_deref(), Some("http://other.example.org"));
}

#[test]
fn a_fight_over_a_field_is_told_while_the_instance_serves() {
    let (resource, observed) = (resource(), serving());
    let instance = Box::new(parse(&resource, &observed, &Settings::default()).unwrap());
    let again = Duration::from_secs(10);
    let contested = vec![Contested { kind: Kind::Service, name: "play".into(), by: Some("rival".into()), again }];
    let outcome = Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested, quiet: true };
    let status = status(&resource, &observed, &outcome, now());
    assert_eq!(of(&status, "Ready"), ("True", "Serving"));
    assert_eq!(of(&status, "Reconciling"), ("True", "FieldContested"));
    let message = &status.conditions.iter().find(|condition| condition.type_ == "Reconciling").unwrap().message;
    assert!(message.contains("Service play (field manager rival)"), "{message}");
    assert_eq!(outcome.again(), Some(again));
}
