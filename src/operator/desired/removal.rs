//! The Job that removes a set from the repository.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    Policy, Wanted,
    backup::beside_dhis2,
    job::{Retry, job},
    metadata::Part,
    pod::{self, Placement, Step, agent, variable},
    repository, resources,
    volume::{self, Attached},
};
use crate::operator::instance::Instance;

/// Removes this set, once.
pub fn once(instance: &Instance, step: &str, set: &str) -> Wanted {
    job(instance, &instance.child(step), Part::Removal, pod(instance, set), Retry::NewPod, Policy::Step)
}

fn pod(instance: &Instance, set: &str) -> PodSpec {
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(256, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("remove", &instance.images.postgres, "IfNotPresent", command(instance, set))
    };
    let main = Step { container, attached: attached(instance) };
    let placement = Placement::Near(repository::is_on_a_node(instance).then(|| Box::new(beside_dhis2(instance))));
    pod::spec(instance, pod::DHIS2, placement, vec![pod::install(instance)], vec![main])
}

fn command(instance: &Instance, set: &str) -> Vec<String> {
    let name = format!("{}/{}", instance.namespace, instance.name);
    let mut command = agent(&["remove", "--set", set, "--instance", &instance.uid, "--name", &name]);
    command.extend(repository::arguments(instance));
    command.extend((instance.adopt && !repository::is_on_a_node(instance)).then(|| "--adopt".to_owned()));
    command
}

/// The repository and its key: nothing else of the instance.
fn attached(instance: &Instance) -> Vec<Attached> {
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(repository::attached(instance));
    attached.extend([
        volume::backup_secret(&instance.child("backup")),
        // restic's cache.
        volume::tmp(10 << 10),
    ]);
    attached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        instance::{Endpoint, Task},
        kind::Kind,
    };

    #[test]
    fn it_has_the_repository_and_the_way_there_and_nothing_else() {
        let removing = |instance: &Instance| fixture::asked(instance, Task::Removal, Some("old"));
        let job = fixture::object(&removing(&fixture::plain()), Kind::Job, "play-remove-0123456789ab");
        let pod = &job["spec"]["template"]["spec"];
        let command = pod["containers"][0]["command"].to_string();
        assert!(command.contains(r#""remove","--set","old""#), "{command}");
        let secrets = |pod: &serde_json::Value| -> Vec<String> {
            let volumes = pod["volumes"].as_array().unwrap().iter();
            volumes.filter_map(|volume| volume["secret"]["secretName"].as_str().map(str::to_owned)).collect()
        };
        assert_eq!(secrets(pod), ["play-backup"]);
        assert!(pod["affinity"]["podAffinity"].is_object(), "where the volume is");
        let policy = |instance: &Instance| fixture::find(&desired(instance), Kind::NetworkPolicy, "play-removal");
        assert!(policy(&removing(&fixture::plain())).is_none());

        let bucket = fixture::in_bucket(Endpoint { host: "s3.example.org".into(), port: 443 });
        let job = fixture::object(&removing(&bucket), Kind::Job, "play-remove-0123456789ab");
        assert_eq!(secrets(&job["spec"]["template"]["spec"]), ["s3-credentials", "s3-ca", "play-backup"]);
        assert!(policy(&removing(&bucket)).is_some() && policy(&bucket).is_none(), "as long as it is needed");
    }
}
