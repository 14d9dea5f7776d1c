//! What comes before an upgrade, beside the backup: the new image is looked at, where DHIS2 will be started from it.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Affinity, Container, PodAffinity, PodSpec, WeightedPodAffinityTerm},
};

use super::{
    Policy, Wanted, backup,
    job::{self, Retry},
    metadata::{Part, owned},
    pod::{self, Placement, Step, agent},
    resources, volume,
};
use crate::{
    api::restore::Phase,
    operator::{instance::Instance, kind::Kind, quantity},
};

/// Long enough to pull an image on a bad line: DHIS2's has some 500 MB.
const DEADLINE: i64 = 2 * 3600;

/// Is the new image there, does it hold the new version, and may that start on the database? Nothing is changed.
pub fn check(instance: &Instance) -> Option<Wanted> {
    let preparing = instance.preparing.filter(|preparing| preparing.phase == Phase::Checking)?;
    let name = instance.child(&check_name(preparing.generation));
    let spec = JobSpec {
        // What is in the way stays so from one moment to the next; the whole step is tried again later.
        backoff_limit: Some(0),
        active_deadline_seconds: Some(DEADLINE),
        ..job::spec(instance, Part::Upgrade, checked(instance), Retry::NewPod)
    };
    let job = Job { metadata: owned(instance, &name, Part::Upgrade), spec: Some(spec), status: None };
    Some(Wanted::new(Kind::Job, &name, &job, Policy::Step))
}

/// Another change of the spec is another upgrade.
pub fn check_name(generation: i64) -> String {
    format!("check-upgrade-{generation}")
}

/// Likewise.
pub fn proof_name(generation: i64) -> String {
    format!("prove-upgrade-{generation}")
}

/// Likewise.
pub fn rehearsal_name(generation: i64) -> String {
    format!("rehearse-upgrade-{generation}")
}

fn checked(instance: &Instance) -> PodSpec {
    let (version, host) = (instance.version.to_string(), instance.child("database"));
    let mut command = agent(&["check", "--only", "--version", &version, "--host", &host, "--instance", &instance.uid]);
    // What was asked for is not there before the volume has grown.
    let sizes = [Some(&instance.database.storage.size), instance.database.capacity.as_ref()].into_iter().flatten();
    let size = sizes.filter_map(|size| quantity::bytes(size)).min();
    command.extend(size.into_iter().flat_map(|size| ["--volume-bytes".to_owned(), size.to_string()]));
    let container = pod::container("check", &instance.images.dhis2, instance.images.dhis2_pull_policy, command);
    let mut attached = vec![volume::agent().read_only(), volume::database_secret(instance, &["username", "password"]), volume::tmp(16)];
    attached.extend(volume::encryption_secret(instance));
    let main = Step { container: Container { resources: Some(resources::step(16, 64)), ..container }, attached };
    pod::spec(
        instance,
        pod::DHIS2,
        Placement::Near(Some(Box::new(rather_beside_dhis2(instance)))),
        vec![pod::install(instance)],
        vec![main],
    )
}

/// Where the image is then pulled already when DHIS2 is stopped; it may have no pod.
fn rather_beside_dhis2(instance: &Instance) -> Affinity {
    let term = WeightedPodAffinityTerm { weight: 100, pod_affinity_term: backup::node_of_dhis2(instance) };
    let affinity = PodAffinity { preferred_during_scheduling_ignored_during_execution: Some(vec![term]), ..PodAffinity::default() };
    Affinity { pod_affinity: Some(affinity), ..Affinity::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::{desired, fixture};

    #[test]
    fn the_new_image_is_looked_at_while_the_old_version_serves() {
        let instance = fixture::upgrading(&fixture::plain(), Phase::Checking);
        let all = desired(&instance);
        let job = fixture::find(&all, Kind::Job, "play-check-upgrade-7").unwrap();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], "docker.io/dhis2/core:2.42.4.1");
        let claims = pod["volumes"].as_array().unwrap().iter().filter(|volume| volume.get("persistentVolumeClaim").is_some());
        assert_eq!(claims.count(), 0, "it changes nothing");
        let command = pod["containers"][0]["command"].to_string();
        assert!(command.contains(r#""--volume-bytes","21474836480""#), "what is free is looked at: {command}");
        assert!(fixture::find(&all, Kind::StatefulSet, "play").is_none(), "what runs is left as it is");
        assert!(fixture::find(&all, Kind::Job, "play-before-upgrade-7").is_none(), "one after the other");
        assert!(check(&fixture::upgrading(&fixture::plain(), Phase::BackingUp)).is_none());
    }

    #[test]
    fn room_that_a_volume_does_not_have_yet_is_none() {
        let mut instance = fixture::upgrading(&fixture::plain(), Phase::Checking);
        let said = |instance: &Instance| serde_json::json!(checked(instance))["containers"][0]["command"].to_string();
        for (capacity, bytes) in [("10Gi", 10_u64 << 30), ("20Gi", 20 << 30), ("1Ti", 20 << 30)] {
            instance.database.capacity = Some(capacity.to_owned());
            let said = said(&instance);
            assert!(said.contains(&format!(r#""--volume-bytes","{bytes}""#)), "{capacity}: {said}");
        }
    }
}
