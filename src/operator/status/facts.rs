//! The facts that are recorded: what was made once, how far the instance is, what runs.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;

use super::{Outcome, analytics, backup, bootstrap, capacity, operation};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus,
        status::{AdminStatus, DatabaseStatus, Made, VersionStatus},
    },
    operator::{instance::Instance, kind::Kind, observe::Observed, parse::upgrade::is_asked_for},
    report::{AdminPassword, Bootstrapped, Data},
};

/// Everything but the conditions.
pub fn recorded(resource: &Dhis2Instance, observed: &Observed, outcome: &Outcome, now: Timestamp) -> Dhis2InstanceStatus {
    let mut status = seen(resource, observed, outcome, now);
    if !matches!(outcome, Outcome::Paused) {
        let before = resource.status.clone().unwrap_or_default();
        analytics::advance(&before, &mut status, resource, observed, now);
    }
    status
}

fn seen(resource: &Dhis2Instance, observed: &Observed, outcome: &Outcome, now: Timestamp) -> Dhis2InstanceStatus {
    let name = resource.name_any();
    let mut status = resource.status.clone().unwrap_or_default();
    status.backup = backup::recorded(status.backup.take(), resource, observed, now);
    status.capacity = capacity::recorded(status.capacity.as_ref(), resource, observed);
    let (Outcome::Applied { instance, made, .. } | Outcome::Interrupted { instance, made } | Outcome::Failed { instance, made, .. }) =
        outcome
    else {
        operation::advance(&mut status, resource, observed, outcome, now);
        return status;
    };
    for (kind, object) in made {
        record(&mut status, instance, *kind, object);
    }
    let built = result(observed, &format!("{name}-database-build"));
    if let Some((time, system_identifier)) = built.and_then(Data::database) {
        record_database(&mut status, time, system_identifier, now);
        status.bootstrap = status.bootstrap.take().or_else(|| built.and_then(|built| bootstrap::recorded(built, now)).map(Box::new));
    }
    let bootstrapped = match result(observed, &format!("{name}-bootstrap")) {
        Some(Data::Bootstrap(bootstrapped)) => Some(bootstrapped),
        _ => None,
    };
    if let Some(bootstrapped) = bootstrapped.filter(|bootstrapped| bootstrapped.district_refused) {
        status.admin.get_or_insert_with(|| admin(bootstrapped, now));
    }
    status.version = Some(version(resource, &status, observed, bootstrapped));
    // An instance keeps the address that it had while its Ingress is away or stays where it was: others wait for it.
    let written = matches!(outcome, Outcome::Applied { .. }) && observed.taken.is_none();
    if written && observed.own(Kind::Ingress, &name).is_some_and(|slot| !slot.deleting) {
        status.url = Some(instance.web.url());
    }
    operation::advance(&mut status, resource, observed, outcome, now);
    status
}

fn result<'a>(observed: &'a Observed, job: &str) -> Option<&'a Data> {
    observed.result_of_step(job)?.data.as_ref()
}

fn record_database(status: &mut Dhis2InstanceStatus, built: &str, system_identifier: &str, now: Timestamp) {
    let time = built.parse().ok().map(Time);
    status
        .database
        .get_or_insert_with(|| DatabaseStatus { built: time.or(Some(Time(now))), system_identifier: Some(system_identifier.to_owned()) });
}

fn record(status: &mut Dhis2InstanceStatus, instance: &Instance, kind: Kind, made: &Made) {
    if kind == Kind::Secret {
        if !status.secrets.iter().any(|known| known.name == made.name) {
            status.secrets.push(made.clone());
            status.secrets.sort_by(|a, b| a.name.cmp(&b.name));
        }
        return;
    }
    let (claims, names) = (status.claims.get_or_insert_default(), &instance.claims);
    for (name, claim) in [(&names.database, &mut claims.database), (&names.files, &mut claims.files), (&names.backups, &mut claims.backups)]
    {
        if made.name == *name {
            *claim = Some(made.clone());
        }
    }
}

fn admin(bootstrapped: &Bootstrapped, now: Timestamp) -> AdminStatus {
    let password = match bootstrapped.admin_password {
        AdminPassword::Generated => "Generated",
        AdminPassword::Foreign => "Foreign",
    };
    AdminStatus { secured: Some(Time(now)), password: Some(password.into()) }
}

/// What runs: by the word of the server when it was first asked, then by the check that each start passes.
fn version(
    resource: &Dhis2Instance,
    status: &Dhis2InstanceStatus,
    observed: &Observed,
    bootstrapped: Option<&Bootstrapped>,
) -> VersionStatus {
    let old = status.version.clone().unwrap_or_default();
    let pod = observed.pod_of_set(&resource.name_any()).and_then(|(_, slot)| slot.pod()).filter(|pod| pod.ready);
    let checked = pod.and_then(|pod| {
        pod.reports.iter().find_map(|report| match &report.data {
            Some(Data::Check(checked)) => Some(checked.version.to_string()),
            _ => None,
        })
    });
    VersionStatus {
        desired: Some(resource.spec.version.clone()),
        running: checked.or_else(|| bootstrapped.map(|bootstrapped| bootstrapped.version.to_string())).or(old.running),
        image_id: pod.and_then(|pod| pod.image_id.clone()).or(old.image_id),
        rolled_back: old.rolled_back.filter(|rolled_back| is_asked_for(resource, &rolled_back.version)),
    }
}
