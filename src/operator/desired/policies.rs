//! Who may connect to whom. Nobody, but for what is named here.

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{
    Policy, Wanted,
    metadata::{Part, all_pods, owned, pods},
    services::{HTTP, POSTGRESQL},
};
use crate::{
    operator::{instance::Instance, kind::Kind},
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
    vec![deny(instance), database(instance), application(instance), bootstrap(instance), backup(instance)]
}

/// Pods that no other policy selects neither send nor receive.
fn deny(instance: &Instance) -> Wanted {
    policy(instance, "deny", Part::Application, all_pods(instance), Vec::new(), Vec::new())
}

fn database(instance: &Instance) -> Wanted {
    let clients = [Part::Application, Part::Backup].map(|part| peer(instance, part)).to_vec();
    policy(instance, "database", Part::Database, pods(instance, Part::Database), vec![from(clients, POSTGRESQL)], Vec::new())
}

fn application(instance: &Instance) -> Wanted {
    let clients = instance.clients.iter().cloned().chain([peer(instance, Part::Bootstrap)]).collect();
    let world = NetworkPolicyEgressRule { to: Some(vec![block("0.0.0.0/0", &INSIDE), block("::/0", &INSIDE_IPV6)]), ports: None };
    let egress = vec![dns(), to(peer(instance, Part::Database), POSTGRESQL), world];
    policy(instance, "application", Part::Application, pods(instance, Part::Application), vec![from(clients, HTTP)], egress)
}

fn bootstrap(instance: &Instance) -> Wanted {
    let egress = vec![dns(), to(peer(instance, Part::Application), HTTP)];
    policy(instance, "bootstrap", Part::Bootstrap, pods(instance, Part::Bootstrap), Vec::new(), egress)
}

fn backup(instance: &Instance) -> Wanted {
    let egress = vec![dns(), to(peer(instance, Part::Database), POSTGRESQL)];
    policy(instance, "backup", Part::Backup, pods(instance, Part::Backup), Vec::new(), egress)
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

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let block = IPBlock { cidr: cidr.to_owned(), except: Some(except.iter().map(|&cidr| cidr.to_owned()).collect()) };
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

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(number)), end_port: None }
}
