//! What asks DHIS2 for its analytics tables, in its database.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    Policy, Wanted,
    job::{Retry, job},
    metadata::Part,
    pod::{self, AGENT_IN_IMAGE, Placement, Step},
    resources, volume,
};
use crate::operator::instance::{Analytics, Instance};

/// The run that is due; none while other data is on its way.
pub fn analytics(instance: &Instance) -> Option<Wanted> {
    let run = due(instance)?;
    let name = instance.child(&job_name(run.run));
    Some(job(instance, &name, Part::Analytics, pod(instance, run), Retry::InPlace, Policy::Step))
}

/// The run that is due.
pub fn due(instance: &Instance) -> Option<&Analytics> {
    instance.analytics.as_ref().filter(|_| instance.stage.secured && instance.restoring.is_none())
}

/// Each run has a Job of its own.
pub fn job_name(run: i64) -> String {
    format!("analytics-{run}")
}

fn pod(instance: &Instance, run: &Analytics) -> PodSpec {
    let (host, number) = (instance.child("database"), run.run.to_string());
    let command = [AGENT_IN_IMAGE, "analytics", "--host", &host, "--instance", &instance.uid, "--run", &number];
    let command = command.into_iter().chain(run.all.then_some("--all"));
    let container = Container {
        resources: Some(resources::step(16, 64)),
        ..pod::container("analytics", &instance.images.agent, &instance.images.agent_pull_policy, command.map(str::to_owned).collect())
    };
    let main = Step { container, attached: vec![volume::database_secret(instance, &["username", "password"]), volume::tmp(16)] };
    pod::spec(instance, pod::DHIS2, Placement::Near(None), Vec::new(), vec![main])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::restore::Phase,
        operator::{
            desired::{desired, fixture},
            instance::Stage,
            kind::Kind,
        },
    };

    #[test]
    fn dhis2_is_asked_once_it_is_open_and_no_other_data_is_on_its_way() {
        let instance = fixture::generating(&fixture::plain());
        let all = desired(&instance);
        let job = fixture::find(&all, Kind::Job, "play-analytics-3").unwrap();
        let command = job["spec"]["template"]["spec"]["containers"][0]["command"].to_string();
        assert!(command.ends_with(r#""--host","play-database","--instance","uid-1","--run","3"]"#), "{command}");
        assert!(fixture::find(&all, Kind::NetworkPolicy, "play-analytics").is_some());
        let plain = desired(&fixture::plain());
        assert!(fixture::find(&plain, Kind::NetworkPolicy, "play-analytics").is_none(), "it reaches nothing when there is nothing to do");
        let early = Instance { stage: Stage { secured: false, ..instance.stage }, ..instance.clone() };
        for not_yet in [early, fixture::restoring(&instance, Phase::Building)] {
            assert!(analytics(&not_yet).is_none());
        }
    }
}
