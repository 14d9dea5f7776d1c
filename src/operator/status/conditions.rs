//! The conditions: each a plain sentence with a reason of the closed list.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::{Outcome, analytics, backup, bootstrap, capacity, copies, operation, recoverable, rollback, verify};
use crate::{
    api::{Dhis2Instance, Dhis2InstanceStatus, Reason},
    dhis2::defects::Defect,
    operator::{
        contest::Contested,
        instance::Instance,
        kind::Kind,
        observe::{self, Observed},
        parse::Refusal,
        quantity,
        restart::Restart,
        slot::{Claim, Pod},
        trouble::Silence,
    },
};

/// One condition before it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its type.
    pub kind: &'static str,
    /// Is it so?
    pub holds: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Told {
    /// A condition in these words.
    pub fn new(kind: &'static str, holds: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, holds, reason, message: message.into() }
    }
}

/// All conditions of an instance.
pub fn conditions(
    resource: &Dhis2Instance,
    status: &Dhis2InstanceStatus,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Vec<Condition> {
    let parts = parts(resource, status, observed);
    let (stalled, paused) = (stalled(outcome, &parts), matches!(outcome, Outcome::Paused));
    let reconciling = reconciling(&resource.name_any(), outcome, &parts, stalled.holds, observed);
    let mut told = vec![ready(&parts, &stalled), reconciling, stalled];
    operation::tell(&mut told, status);
    rollback::tell_done(&mut told, resource, status);
    told.push(if paused {
        Told::new("Paused", true, Reason::Paused, "The annotation dhis2.hosting/paused keeps the operator away from this instance.")
    } else {
        Told::new("Paused", false, Reason::Active, "The operator keeps this instance as it should be.")
    });
    told.extend(parts);
    told.push(backup::healthy(resource, status, outcome, observed, now));
    told.push(backup::sane(resource, status));
    told.push(verify::verified(resource, status, observed, now));
    told.extend(status.capacity.as_ref().map(capacity::sufficient));
    told.extend(bootstrap::loaded(resource, status));
    told.extend(copies::copied(resource, status, observed, now));
    told.push(recoverable::recoverable(resource, status, now));
    told.extend(analytics::fresh(resource, status, observed));
    told.into_iter().map(|told| written(told, resource, now)).collect()
}

/// The time of a condition moves only with its status.
fn written(told: Told, resource: &Dhis2Instance, now: Timestamp) -> Condition {
    let status = if told.holds { "True" } else { "False" };
    let old = resource.status.iter().flat_map(|status| &status.conditions).find(|old| old.type_ == told.kind && old.status == status);
    Condition {
        type_: told.kind.into(),
        status: status.into(),
        reason: told.reason.as_str().into(),
        message: told.message,
        observed_generation: resource.metadata.generation,
        last_transition_time: old.map_or(Time(now), |old| old.last_transition_time.clone()),
    }
}

fn parts(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, observed: &Observed) -> Vec<Told> {
    let name = resource.name_any();
    let database = database(resource, status, observed);
    let application = application(&name, status, observed, database.holds);
    vec![database, application, admin(&name, status, observed), exposed(&name, observed)]
}

fn trouble(kind: &'static str, pod: Option<&Pod>) -> Option<Told> {
    let trouble = pod?.trouble.as_ref()?;
    Some(Told::new(kind, false, trouble.reason, trouble.message.clone()))
}

/// `volume`: what it means that what watches the server is stuck.
fn silent(kind: &'static str, pod: Option<&Pod>, who: &str, volume: (Reason, &str)) -> Option<Told> {
    Some(match pod?.silent? {
        Silence::Server => {
            let message =
                format!("{who} runs and does not answer as it should; the end of `kubectl describe pod` says what was asked and answered.");
            Told::new(kind, false, Reason::NotAnswering, message)
        }
        Silence::Watch => Told::new(kind, false, volume.0, volume.1),
        Silence::Node => {
            let message = format!(
                "The node of {who} is not heard of any more, and nobody knows whether {who} runs there; no second one is started. `kubectl get pods -o wide` names the node: bring it back."
            );
            Told::new(kind, false, Reason::NodeLost, message)
        }
    })
}

const DATABASE_HANGS: (Reason, &str) = (
    Reason::DatabaseUnreachable,
    "PostgreSQL runs and does not answer, or its volume does not: it recovers from a crash, or what the volume is stored on hangs; look at the node and its storage.",
);
const FILES_HANG: (Reason, &str) = (
    Reason::FilesNotWritable,
    "The file store does not answer: DHIS2 would accept uploads and lose them; look at the volume and what it is stored on.",
);

fn database(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, observed: &Observed) -> Told {
    const KIND: &str = "DatabaseReady";
    let name = resource.name_any();
    let set = format!("{name}-database");
    let pod = observed.pod_of_set(&set).and_then(|(_, slot)| slot.pod());
    let build = observed.pod_of_step(&format!("{name}-database-build"));
    if observed.set_is_ready(&set) {
        return Told::new(KIND, true, Reason::Serving, "PostgreSQL answers.");
    }
    if status.database.is_some() {
        let silent = silent(KIND, pod, "PostgreSQL", DATABASE_HANGS);
        return trouble(KIND, pod)
            .or(silent)
            .unwrap_or_else(|| Told::new(KIND, false, Reason::StartingDatabase, "PostgreSQL is starting."));
    }
    if status.claims.is_none() {
        return Told::new(KIND, false, Reason::Creating, "Volumes and Secrets are being made.");
    }
    trouble(KIND, build).unwrap_or_else(|| {
        let message = match bootstrap::source(resource) {
            Some(source) => format!("{source} is being loaded; the log of Job {name}-database-build tells how far it is."),
            None => "The database volume is being initialised.".to_owned(),
        };
        Told::new(KIND, false, Reason::BuildingDatabase, message)
    })
}

fn application(name: &str, status: &Dhis2InstanceStatus, observed: &Observed, database: bool) -> Told {
    const KIND: &str = "ApplicationReady";
    let pod = observed.pod_of_set(name).and_then(|(_, slot)| slot.pod());
    if observed.set_is_ready(name) {
        return Told::new(KIND, true, Reason::Serving, "DHIS2 answers.");
    }
    if observed.own(Kind::StatefulSet, name).is_none() {
        return Told::new(KIND, false, Reason::Creating, "DHIS2 is started when the database answers.");
    }
    if let Some(told) = trouble(KIND, pod) {
        return told;
    }
    if !database {
        return Told::new(KIND, false, Reason::DatabaseUnreachable, "DHIS2 does not serve without its database.");
    }
    if let Some(told) = silent(KIND, pod, "DHIS2", FILES_HANG) {
        return told;
    }
    if status.admin.is_some() && pod.is_none_or(|pod| pod.ended) {
        return Told::new(KIND, false, Reason::Restarting, "DHIS2 is being restarted.");
    }
    Told::new(KIND, false, Reason::StartingApplication, "DHIS2 is starting; a first start or a migration takes minutes, a large one hours.")
}

fn admin(name: &str, status: &Dhis2InstanceStatus, observed: &Observed) -> Told {
    const KIND: &str = "AdminPasswordSet";
    match status.admin.as_ref() {
        Some(admin) if admin.password.as_deref() == Some("Foreign") => Told::new(
            KIND,
            true,
            Reason::AdminPasswordForeign,
            format!("The default password is refused. People had set another one than that in Secret {name}-admin: it is theirs."),
        ),
        Some(_) => Told::new(
            KIND,
            true,
            Reason::Done,
            format!("The default password is refused; the first password of admin is in Secret {name}-admin."),
        ),
        None => {
            let pod = observed.pod_of_step(&format!("{name}-bootstrap"));
            trouble(KIND, pod).unwrap_or_else(|| {
                Told::new(
                    KIND,
                    false,
                    Reason::SecuringAdmin,
                    "The default password is replaced as soon as DHIS2 answers; until then the door is closed.",
                )
            })
        }
    }
}

fn exposed(name: &str, observed: &Observed) -> Told {
    const KIND: &str = "Exposed";
    if let Some(Refusal { reason, message }) = &observed.taken {
        return Told::new(KIND, false, *reason, message.clone());
    }
    if let Some(secret) = observed.missing.get(observe::CERTIFICATE) {
        let message = format!(
            "Secret {secret} of {} does not exist: the ingress controller answers with a certificate of its own, which browsers and apps refuse. Make the Secret, with tls.crt and tls.key.",
            observe::CERTIFICATE
        );
        return Told::new(KIND, false, Reason::SecretMissing, message);
    }
    match observed.own(Kind::Ingress, name) {
        Some(slot) if !slot.deleting => Told::new(KIND, true, Reason::Done, "The Ingress leads to DHIS2."),
        _ => Told::new(KIND, false, Reason::SecuringAdmin, "The Ingress is made when the default password is refused, never before."),
    }
}

/// Does it serve? The first part that is not as it should be says why not.
fn ready(parts: &[Told], stalled: &Told) -> Told {
    match parts.iter().find(|part| !part.holds) {
        None => Told::new("Ready", true, Reason::Serving, "The instance serves."),
        Some(_) if stalled.holds => Told::new("Ready", false, stalled.reason, stalled.message.clone()),
        Some(part) => Told::new("Ready", false, part.reason, part.message.clone()),
    }
}

fn stalled(outcome: &Outcome, parts: &[Told]) -> Told {
    let defect = |instance: &Instance| instance.defect.map(|defect| defective(instance, defect));
    let Refusal { reason, message } = match outcome {
        Outcome::Applied { instance, .. } if let Some(refusal) = defect(instance) => refusal,
        Outcome::Refused(refusal) | Outcome::Failed { refusal, .. } => refusal.clone(),
        Outcome::Applied { instance, .. } if instance.stage.downgrade => below(instance),
        Outcome::Paused | Outcome::Applied { .. } | Outcome::Interrupted { .. } => {
            match parts.iter().find(|part| part.reason.needs_a_person()) {
                Some(part) => Refusal::new(part.reason, part.message.clone()),
                None => return Told::new("Stalled", false, Reason::Unobstructed, "Nothing stands in the way."),
            }
        }
    };
    Told::new("Stalled", true, reason, message)
}

/// Known before anything is stopped: DHIS2 changes its database forward only.
fn below(instance: &Instance) -> Refusal {
    let runs = instance.running.map(|version| version.to_string()).unwrap_or_default();
    Refusal::new(
        Reason::DowngradeRefused,
        format!(
            "spec.version {} is below {runs}, which has changed the database, and goes on: set it back, or restore a set of the older version.",
            instance.version
        ),
    )
}

/// Known before anything is stopped: it damages data.
fn defective(instance: &Instance, Defect { what, instead, .. }: &Defect) -> Refusal {
    let message = format!(
        "DHIS2 {} is not started in place of the version that runs: {what}. Set spec.version to {instead} or later.",
        instance.version
    );
    Refusal::new(Reason::UpgradeBlocked, message)
}

fn reconciling(name: &str, outcome: &Outcome, parts: &[Told], stalled: bool, observed: &Observed) -> Told {
    const KIND: &str = "Reconciling";
    let still = |message: &str| Told::new(KIND, false, Reason::Settled, message);
    let (restart, contested) = match outcome {
        Outcome::Applied { restart, contested, .. } => (restart, contested),
        // The words stay the same from try to try: each other text would be a write.
        Outcome::Interrupted { .. } => {
            return Told::new(
                KIND,
                true,
                Reason::Failed,
                "The API server did not take a request; it is tried again. The operator's log says more.",
            );
        }
        _ => return still("Nothing is under way."),
    };
    if stalled {
        return still("Nothing is under way until the obstacle is gone.");
    }
    if !contested.is_empty() {
        return Told::new(KIND, true, Reason::FieldContested, fought_over(contested));
    }
    match restart {
        Restart::Settled => {}
        Restart::Migrating => {
            let message = format!(
                "A restart is due, and waits: DHIS2 may be migrating its database. Does its log say that the start failed? Then delete pod {name}-0."
            );
            return Told::new(KIND, true, Reason::StartingApplication, message);
        }
        Restart::Next(_) | Restart::Later => {
            return Told::new(KIND, true, Reason::Restarting, "Pods are restarted one at a time with what changed.");
        }
    }
    if let Some(claim) = growing(observed) {
        return Told::new(KIND, true, Reason::GrowingVolume, format!("The volume of {claim} is growing."));
    }
    match parts.iter().find(|part| !part.holds) {
        Some(part) => Told::new(KIND, true, part.reason, part.message.clone()),
        None => still("Everything is as the resource asks."),
    }
}

/// The words stay the same as long as the same ones fight.
fn fought_over(contested: &[Contested]) -> String {
    let objects = contested.iter().map(|Contested { kind, name, by, .. }| match by {
        Some(by) => format!("{} {name} (field manager {by})", kind.name()),
        None => format!("{} {name}", kind.name()),
    });
    format!(
        "Somebody undoes again and again what the operator writes: {}. It is put back less and less often, every five minutes in the end. Let whoever does it leave these objects alone; what should differ belongs into the resource.",
        objects.collect::<Vec<_>>().join(", ")
    )
}

fn growing(observed: &Observed) -> Option<&str> {
    observed.slots(Kind::PersistentVolumeClaim).find_map(|(name, slot)| {
        let Claim { requested, capacity, .. } = slot.claim()?;
        (quantity::bytes(capacity.as_ref()?)? < quantity::bytes(requested)?).then_some(name)
    })
}
