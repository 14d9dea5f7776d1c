//! The repository as pods see it: a volume, or a bucket with its address, its credentials and the way there.

use std::net::Ipv4Addr;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{
    policies::{block, port},
    volume::{self, Attached},
};
use crate::{
    layout,
    operator::instance::{Bucket, Endpoint, Instance, Origin, Place, Repository},
};

/// Where clouds have their metadata service: no repository is there.
const LINK_LOCAL: &str = "169.254.0.0/16";
/// Likewise for IPv6.
const LINK_LOCAL_IPV6: &str = "fe80::/10";

/// What a pod mounts that works with the repository.
pub fn attached(instance: &Instance) -> Vec<Attached> {
    match &instance.repository {
        Repository::Volume(_) => vec![volume::backups(instance)],
        Repository::S3(bucket) => secrets(bucket),
    }
}

/// What a pod mounts that only reads another instance's.
pub fn attached_to_read(origin: &Origin) -> Vec<Attached> {
    let mut attached = match &origin.place {
        Place::Claim(claim) => vec![volume::backups_of(claim)],
        Place::S3(bucket) => secrets(bucket),
    };
    attached.push(volume::backup_secret(&origin.password).optional());
    attached
}

/// What it mounts of a bucket's server.
pub fn secrets(bucket: &Bucket) -> Vec<Attached> {
    let credentials = [layout::S3_ACCESS_KEY_ID, layout::S3_SECRET_ACCESS_KEY];
    let credentials = volume::repository_secret(&bucket.credentials, layout::S3_CREDENTIALS, &credentials);
    let authority = |name| volume::repository_secret(name, layout::S3_CA, &[layout::S3_CA_CERTIFICATE]);
    std::iter::once(credentials).chain(bucket.ca.as_deref().map(authority)).collect()
}

/// What the agent is told of the repository; credentials are never among it.
pub fn arguments(instance: &Instance) -> Vec<String> {
    match &instance.repository {
        Repository::Volume(_) => Vec::new(),
        Repository::S3(bucket) => address(bucket),
    }
}

/// What it is told of another one, which is only read.
pub fn arguments_to_read(origin: &Origin) -> Vec<String> {
    let address = match &origin.place {
        Place::Claim(_) => Vec::new(),
        Place::S3(bucket) => address(bucket),
    };
    std::iter::once(format!("--read-only={}", origin.named_by)).chain(address).collect()
}

/// What the agent is told of a bucket.
pub fn address(bucket: &Bucket) -> Vec<String> {
    let mut arguments = vec!["--s3".to_owned(), bucket.url.clone()];
    arguments.extend(bucket.region.iter().flat_map(|region| ["--s3-region".to_owned(), region.clone()]));
    arguments.extend(bucket.path_style.then(|| "--s3-path-style".to_owned()));
    let limits = ["--s3-limit-upload", "--s3-limit-download"].into_iter().zip(bucket.limits);
    arguments.extend(limits.filter_map(|(flag, limit)| Some([flag.to_owned(), limit?.to_string()])).flatten());
    arguments.extend(bucket.ca.is_some().then(|| "--s3-ca".to_owned()));
    arguments
}

/// Whether the repository is where the instance's volumes are, so that whoever needs it has to be there as well.
pub fn is_on_a_node(instance: &Instance) -> bool {
    matches!(instance.repository, Repository::Volume(_))
}

/// The way to the bucket, as narrow as policies can say it: they know addresses and no names.
pub fn egress(bucket: &Bucket) -> NetworkPolicyEgressRule {
    let Endpoint { host, port: number } = &bucket.endpoint;
    if let Some(namespace) = namespace(host) {
        // The port of a Service need not be that of its pods, which is what counts.
        return NetworkPolicyEgressRule { to: Some(vec![namespace]), ports: None };
    }
    let to = match host.parse::<Ipv4Addr>() {
        Ok(address) => vec![block(&format!("{address}/32"), &[])],
        Err(_) => vec![block("0.0.0.0/0", &[LINK_LOCAL]), block("::/0", &[LINK_LOCAL_IPV6])],
    };
    NetworkPolicyEgressRule { to: Some(to), ports: Some(vec![port("TCP", *number)]) }
}

/// The pods of the namespace that a name inside the cluster is of, `<service>.<namespace>.svc`.
fn namespace(host: &str) -> Option<NetworkPolicyPeer> {
    let mut labels = host.split('.').skip(1);
    let (namespace, svc) = (labels.next()?, labels.next()?);
    let selector = LabelSelector {
        match_labels: Some([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())].into()),
        ..LabelSelector::default()
    };
    (svc == "svc").then(|| NetworkPolicyPeer { namespace_selector: Some(selector), ..NetworkPolicyPeer::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        kind::Kind,
    };
    use serde_json::{Value, json};

    fn of(host: &str, number: i32) -> Instance {
        fixture::in_bucket(Endpoint { host: host.into(), port: number })
    }

    fn rule(host: &str, number: i32) -> Value {
        let Repository::S3(bucket) = of(host, number).repository else { panic!("no bucket") };
        json!(egress(&bucket))
    }

    #[test]
    fn the_way_to_the_bucket_is_as_narrow_as_is_known() {
        let port = json!([{"protocol": "TCP", "port": 9000}]);
        assert_eq!(rule("10.0.0.5", 9000), json!({"to": [{"ipBlock": {"cidr": "10.0.0.5/32"}}], "ports": port}));
        let inside = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]);
        for host in ["minio.storage.svc", "minio.storage.svc.cluster.local"] {
            assert_eq!(rule(host, 443), json!({ "to": inside }));
        }
        let world = rule("s3.example.org", 443);
        assert_eq!(world["ports"][0]["port"], 443);
        assert_eq!(world["to"][0]["ipBlock"], json!({"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}));
    }

    #[test]
    fn there_is_no_claim_of_backups_and_the_pods_that_need_the_bucket_reach_it() {
        let instance = of("s3.example.org", 443);
        let all = desired(&instance);
        assert!(fixture::find(&all, Kind::PersistentVolumeClaim, "play-backups").is_none());
        for policy in ["play-backup", "play-verify", "play-restore"] {
            let policy = fixture::find(&all, Kind::NetworkPolicy, policy).unwrap_or_else(|| panic!("no policy {policy}"));
            let last = policy["spec"]["egress"].as_array().unwrap().last().unwrap().clone();
            assert_eq!(last, rule("s3.example.org", 443));
        }
        let plain = desired(&fixture::plain());
        assert!(fixture::find(&plain, Kind::NetworkPolicy, "play-verify").is_none(), "with a volume they reach nothing");
    }

    #[test]
    fn credentials_are_mounted_beside_the_secrets_that_a_set_holds_and_said_nowhere() {
        for pod in fixture::at_all_stages(&of("s3.example.org", 443)) {
            let pod = match pod.kind {
                Kind::CronJob => pod.object.pointer("/spec/jobTemplate/spec/template/spec").cloned(),
                Kind::Job => pod.object.pointer("/spec/template/spec").cloned(),
                _ => None,
            };
            let Some(pod) = pod else { continue };
            let containers: Vec<&Value> =
                ["initContainers", "containers"].iter().flat_map(|list| pod[list].as_array().into_iter().flatten()).collect();
            let works = |container: &Value| ["backup", "verify", "restore", "remove"].map(Value::from).contains(&container["name"]);
            for container in &containers {
                let mounts = container["volumeMounts"].as_array().unwrap();
                let mounted = mounts.iter().any(|mount| mount["mountPath"] == layout::S3_CREDENTIALS && mount["readOnly"] == true);
                assert_eq!(mounted, works(container), "{}", container["name"]);
                assert!(container["env"].as_array().into_iter().flatten().all(|variable| !variable.to_string().contains("s3-credentials")));
            }
            assert!(!layout::S3_CREDENTIALS.starts_with(layout::SECRETS), "a set would hold them");
            let volumes = pod["volumes"].as_array().unwrap();
            let secret = volumes.iter().find(|volume| volume["secret"]["secretName"] == "s3-credentials");
            let needed = containers.iter().any(|container| works(container));
            assert_eq!(secret.is_some_and(|volume| volume["secret"]["optional"] == true), needed, "without it the agent tells");
        }
    }

    #[test]
    fn a_claim_that_was_there_before_stays_as_it_is() {
        let mut instance = of("s3.example.org", 443);
        let Repository::S3(bucket) = &mut instance.repository else { panic!("no bucket") };
        bucket.left = Some(crate::operator::instance::Storage { size: "7Gi".into(), class: None });
        let claim = fixture::object(&instance, Kind::PersistentVolumeClaim, "play-backups");
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "7Gi");
    }
}
