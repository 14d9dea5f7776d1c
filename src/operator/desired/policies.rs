//! Who may connect to whom. Nobody, but for what is named here.

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{
    Policy, Wanted, analytics, copies,
    metadata::{Part, all_pods, owned, pods},
    repository,
    services::{HTTP, POSTGRESQL},
};
use crate::{
    api::{COPY, restore::Phase},
    operator::{
        instance::{BackupCopy, Bucket, Instance, Origin, Place, Repository, SetSource, Source, Task},
        kind::Kind,
    },
};

/// What DHIS2 may not reach although it may reach the world: other pods and the networks around them, and the metadata service
/// that clouds have at 169.254.169.254.
const INSIDE: [&str; 5] = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"];
/// Likewise for IPv6: unique local and link-local addresses.
const INSIDE_IPV6: [&str; 2] = ["fc00::/7", "fe80::/10"];

/// The policies of an instance, unless it is to have none.
pub fn policies(instance: &Instance) -> Vec<Wanted> {
    if !instance.policies {
        return Vec::new();
    }
    let always = [deny(instance), database(instance), application(instance), bootstrap(instance), backup(instance)];
    let always = always.into_iter().chain(upgrade(instance)).chain(generator(instance)).chain(readers(instance)).chain(copiers(instance));
    always.chain(builder(instance)).chain(clients(instance)).collect()
}

/// Pods that no other policy selects neither send nor receive.
fn deny(instance: &Instance) -> Wanted {
    policy(instance, "deny", Part::Application, all_pods(instance), Vec::new(), Vec::new())
}

fn database(instance: &Instance) -> Wanted {
    let clients = [Part::Application, Part::Backup, Part::Upgrade, Part::Analytics].map(|part| peer(instance, part)).to_vec();
    policy(instance, "database", Part::Database, pods(instance, Part::Database), vec![from(clients, POSTGRESQL)], Vec::new())
}

fn application(instance: &Instance) -> Wanted {
    let world = NetworkPolicyEgressRule { to: Some(vec![block("0.0.0.0/0", &INSIDE), block("::/0", &INSIDE_IPV6)]), ports: None };
    let egress = vec![dns(), to(peer(instance, Part::Database), POSTGRESQL), world];
    let bootstrap = vec![from(vec![peer(instance, Part::Bootstrap)], HTTP)];
    policy(instance, "application", Part::Application, pods(instance, Part::Application), bootstrap, egress)
}

/// Those who bring users. They may connect when the default password is refused, never before: who logs in with it first
/// could make an account that stays.
fn clients(instance: &Instance) -> Option<Wanted> {
    let due = instance.stage.secured && !instance.clients.is_empty();
    let clients = || vec![from(instance.clients.clone(), HTTP)];
    due.then(|| policy(instance, "clients", Part::Application, pods(instance, Part::Application), clients(), Vec::new()))
}

fn bootstrap(instance: &Instance) -> Wanted {
    let egress = vec![dns(), to(peer(instance, Part::Application), HTTP)];
    policy(instance, "bootstrap", Part::Bootstrap, pods(instance, Part::Bootstrap), Vec::new(), egress)
}

fn backup(instance: &Instance) -> Wanted {
    let mut egress = vec![dns(), to(peer(instance, Part::Database), POSTGRESQL)];
    if let Repository::S3(bucket) = &instance.repository {
        egress.push(repository::egress(bucket));
    }
    policy(instance, "backup", Part::Backup, pods(instance, Part::Backup), Vec::new(), egress)
}

/// What looks at a new version asks the database, as long as it looks.
fn upgrade(instance: &Instance) -> Option<Wanted> {
    let checks = instance.preparing.is_some_and(|preparing| preparing.phase == Phase::Checking);
    let egress = vec![dns(), to(peer(instance, Part::Database), POSTGRESQL)];
    checks.then(|| policy(instance, "upgrade", Part::Upgrade, pods(instance, Part::Upgrade), Vec::new(), egress))
}

/// What asks DHIS2 for its analytics tables does so in the database, as long as it asks.
fn generator(instance: &Instance) -> Option<Wanted> {
    let egress = vec![dns(), to(peer(instance, Part::Database), POSTGRESQL)];
    analytics::due(instance)?;
    Some(policy(instance, "analytics", Part::Analytics, pods(instance, Part::Analytics), Vec::new(), egress))
}

/// What works with sets alone has no need of any connection, unless they are in a bucket.
fn readers(instance: &Instance) -> Vec<Wanted> {
    let own = match &instance.repository {
        Repository::S3(bucket) => Some(bucket),
        Repository::Volume(_) => None,
    };
    let rehearses = instance.preparing.is_some_and(|preparing| preparing.phase == Phase::Rehearsing);
    let removes = instance.errand.as_ref().is_some_and(|errand| errand.task == Task::Removal);
    let readers = [
        (Part::Verify, own),
        (Part::Restore, restored_from(instance).or(own)),
        (Part::Rehearsal, own.filter(|_| rehearses)),
        (Part::Removal, own.filter(|_| removes)),
    ];
    readers.into_iter().filter_map(|(part, bucket)| Some(reader(instance, part, bucket?))).collect()
}

fn reader(instance: &Instance, part: Part, bucket: &Bucket) -> Wanted {
    let egress = vec![dns(), repository::egress(bucket)];
    policy(instance, part.into(), part, pods(instance, part), Vec::new(), egress)
}

/// The bucket of another repository, while a set of it is restored.
fn restored_from(instance: &Instance) -> Option<&Bucket> {
    let restoring = instance.restoring.as_ref().filter(|restoring| restoring.phase == Phase::Building)?;
    let SetSource::Other(origin) = restoring.from.as_ref()? else { return None };
    bucket_of(origin)
}

fn bucket_of(origin: &Origin) -> Option<&Bucket> {
    match &origin.place {
        Place::S3(bucket) => Some(bucket),
        Place::Claim(_) => None,
    }
}

/// What copies sets reaches the server of its copy, and that of the repository where that is in a bucket.
fn copiers(instance: &Instance) -> Vec<Wanted> {
    let own = match &instance.repository {
        Repository::S3(bucket) => Some(bucket),
        Repository::Volume(_) => None,
    };
    let copier = |copy: &BackupCopy| {
        let egress = std::iter::once(&copy.bucket).chain(own).map(repository::egress);
        let mut selector = pods(instance, Part::Copy);
        selector.match_labels.get_or_insert_default().insert(COPY.to_owned(), copy.name.clone());
        let egress = std::iter::once(dns()).chain(egress).collect();
        policy(instance, &copies::suffix(&copy.name), Part::Copy, selector, Vec::new(), egress)
    };
    instance.copies.iter().map(copier).collect()
}

/// What fills the volumes of a new instance needs none either, unless its set is in a bucket.
fn builder(instance: &Instance) -> Option<Wanted> {
    let Some(Source::Backup(origin)) = &instance.source else { return None };
    Some(reader(instance, Part::DatabaseBuild, bucket_of(origin)?))
}

fn policy(
    instance: &Instance,
    suffix: &str,
    part: Part,
    selector: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> Wanted {
    let name = instance.child(suffix);
    let policy = NetworkPolicy {
        metadata: owned(instance, &name, part),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: (!ingress.is_empty()).then_some(ingress),
            egress: (!egress.is_empty()).then_some(egress),
        }),
    };
    Wanted::new(Kind::NetworkPolicy, &name, &policy, Policy::Keep)
}

fn peer(instance: &Instance, part: Part) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(pods(instance, part)), ..NetworkPolicyPeer::default() }
}

/// A block of addresses, but for parts of it.
pub fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except = (!except.is_empty()).then(|| except.iter().map(|&cidr| cidr.to_owned()).collect());
    let block = IPBlock { cidr: cidr.to_owned(), except };
    NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }
}

fn from(peers: Vec<NetworkPolicyPeer>, number: i32) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(peers), ports: Some(vec![port("TCP", number)]) }
}

fn to(peer: NetworkPolicyPeer, number: i32) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(vec![peer]), ports: Some(vec![port("TCP", number)]) }
}

/// Name servers, wherever they are: clusters run them as pods, on the nodes or at link-local addresses.
fn dns() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: None, ports: Some(["UDP", "TCP"].map(|protocol| port(protocol, 53)).to_vec()) }
}

/// A port that is let through.
pub fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(number)), end_port: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    use crate::operator::{desired::fixture, instance::Stage};

    const PARTS: [Part; 5] = [Part::Application, Part::Database, Part::DatabaseBuild, Part::Bootstrap, Part::Backup];

    fn labels_of(instance: &Instance, part: Part) -> Value {
        json!(crate::operator::desired::metadata::labels(instance, part))
    }

    fn selects(selector: &Value, labels: &Value) -> bool {
        selector["matchLabels"].as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Do the rules of one direction of all policies that select `here` let `there` through on this port?
    fn lets(policies: &[Wanted], direction: &str, peers: &str, here: &Value, there: &Value, port: i32) -> bool {
        let selecting = policies.iter().filter(|policy| selects(&policy.object["spec"]["podSelector"], here));
        let rules =
            selecting.flat_map(|policy| policy.object["spec"].get(direction).and_then(Value::as_array).cloned().unwrap_or_default());
        rules.into_iter().any(|rule| {
            let peer = rule
                .get(peers)
                .and_then(Value::as_array)
                .is_none_or(|peers| peers.iter().any(|peer| peer.get("podSelector").is_some_and(|selector| selects(selector, there))));
            peer && rule.get("ports").and_then(Value::as_array).is_none_or(|ports| ports.iter().any(|known| known["port"] == port))
        })
    }

    #[test]
    fn who_reaches_whom() {
        let instance = fixture::plain();
        let policies = policies(&instance);
        let reaches = |from: Part, to: Part, port: i32| {
            let (from, to) = (labels_of(&instance, from), labels_of(&instance, to));
            lets(&policies, "egress", "to", &from, &to, port) && lets(&policies, "ingress", "from", &to, &from, port)
        };
        for from in PARTS {
            for to in PARTS {
                let database = matches!((from, to), (Part::Application | Part::Backup, Part::Database));
                assert_eq!(reaches(from, to, POSTGRESQL), database, "{from:?} to {to:?}");
                assert_eq!(reaches(from, to, HTTP), (from, to) == (Part::Bootstrap, Part::Application), "{from:?} to {to:?}");
                assert!(!reaches(from, to, 22) && !reaches(from, to, 53));
            }
        }
    }

    #[test]
    fn the_database_and_its_build_reach_nothing() {
        let instance = fixture::plain();
        for part in [Part::Database, Part::DatabaseBuild] {
            let labels = labels_of(&instance, part);
            assert!(!lets(&policies(&instance), "egress", "to", &labels, &json!({}), 53));
        }
    }

    #[test]
    fn every_pod_is_under_the_denial_of_both_directions() {
        let instance = fixture::plain();
        let deny = fixture::object(&instance, Kind::NetworkPolicy, "play-deny");
        assert_eq!(deny["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(deny["spec"].get("ingress").is_none() && deny["spec"].get("egress").is_none());
        for part in PARTS {
            assert!(selects(&deny["spec"]["podSelector"], &labels_of(&instance, part)));
        }
        let other = Instance { name: "other".into(), ..instance };
        assert!(!selects(&deny["spec"]["podSelector"], &labels_of(&other, Part::Database)));
    }

    #[test]
    fn nobody_connects_before_the_default_password_is_refused_nor_where_nobody_is_named() {
        let named = Instance { clients: vec![NetworkPolicyPeer::default()], ..fixture::plain() };
        let early = Instance { stage: Stage { secured: false, ..named.stage }, ..named.clone() };
        let has_clients = |instance: &Instance| policies(instance).iter().any(|policy| policy.name == "play-clients");
        assert!(has_clients(&named));
        assert!(!has_clients(&early));
        assert!(!has_clients(&fixture::plain()), "a rule without peers would let everybody in");
    }

    #[test]
    fn dhis2_is_reached_by_the_clients_and_reaches_the_world_but_not_the_inside() {
        let controller =
            NetworkPolicyPeer { ip_block: Some(IPBlock { cidr: "192.0.2.0/24".into(), except: None }), ..NetworkPolicyPeer::default() };
        let instance = Instance { clients: vec![controller], ..fixture::plain() };
        let clients = fixture::object(&instance, Kind::NetworkPolicy, "play-clients")["spec"].clone();
        assert_eq!(clients["ingress"][0]["from"], json!([{"ipBlock": {"cidr": "192.0.2.0/24"}}]));
        assert!(clients.get("egress").is_none());
        let spec = fixture::object(&instance, Kind::NetworkPolicy, "play-application")["spec"].clone();
        let world = &spec["egress"][2];
        assert!(world.get("ports").is_none());
        assert!(world["to"][0]["ipBlock"]["except"].as_array().unwrap().contains(&json!("169.254.0.0/16")));
    }

    #[test]
    fn they_can_be_left_out() {
        assert!(policies(&Instance { policies: false, ..fixture::plain() }).is_empty());
    }
}
