//! Network policies as an nftables table: pure text from pods, namespaces and policies.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

type Labels = BTreeMap<String, String>;

/// A pod with an address of its own.
#[derive(Clone, Debug)]
pub struct Endpoint {
    namespace: String,
    labels: Labels,
    address: String,
    /// Name, protocol in lower case, number.
    ports: Vec<(String, String, i32)>,
}

impl Endpoint {
    /// The endpoint that a pod is at this address, if it is one now.
    pub fn at(pod: &Pod, address: &str) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
        let ended = ["Succeeded", "Failed"].map(Some).contains(&status.phase.as_deref());
        if spec.host_network == Some(true) || ended {
            return None;
        }
        let sidecars = spec.init_containers.iter().flatten();
        let containers = spec.containers.iter().chain(sidecars);
        let ports = containers.flat_map(|c| c.ports.iter().flatten()).filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
            Some((port.name.clone()?, protocol, port.container_port))
        });
        Some(Self { namespace: pod.namespace()?, labels: pod.labels().clone(), address: address.to_owned(), ports: ports.collect() })
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// What decides who may talk to whom.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Pods, sorted by address.
    pub endpoints: Vec<Endpoint>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// Policies, sorted by namespace and name.
    pub policies: Vec<NetworkPolicy>,
}

#[derive(Clone, Copy)]
enum Direction {
    Ingress,
    Egress,
}

impl Cluster {
    /// The whole table. Loading it replaces the one before in one transaction.
    ///
    /// Established connections go on; the node reaches its pods (probes, the API's proxies).
    pub fn table(&self) -> String {
        let (mut chains, mut inward, mut outward) = (String::new(), Vec::new(), Vec::new());
        for endpoint in &self.endpoints {
            for (direction, jumps) in [(Direction::Ingress, &mut inward), (Direction::Egress, &mut outward)] {
                if let Some(rules) = self.rules(endpoint, direction) {
                    let chain = chain(endpoint, direction);
                    let _ = writeln!(chains, "  chain {chain} {{\n{rules}    counter drop\n  }}");
                    jumps.push(format!("{} : jump {chain}", endpoint.address));
                }
            }
        }
        let outward = map("saddr", &outward);
        let inward = map("daddr", &inward);
        let base = |name: &str, hook: &str, maps: &str| {
            format!(
                "  chain {name} {{\n    type filter hook {hook} priority -5; policy accept;\n    \
                 ct state established,related accept\n{maps}  }}\n"
            )
        };
        let between = base("between_pods", "forward", &format!("{outward}{inward}"));
        let to_node = base("to_node", "input", &outward);
        format!(
            "table inet {TABLE}\ndelete table inet {TABLE}\n\
             table inet {TABLE} {{\n{chains}{between}{to_node}}}\n"
        )
    }

    /// What is let through for an endpoint; nothing when no policy isolates it in this direction.
    fn rules(&self, endpoint: &Endpoint, direction: Direction) -> Option<String> {
        let mut rules = None;
        for policy in &self.policies {
            let Some(spec) = policy.spec.as_ref() else {
                continue;
            };
            let namespace = policy.namespace().unwrap_or_default();
            let here = namespace == endpoint.namespace;
            if !here || !selects(spec.pod_selector.as_ref(), &endpoint.labels) {
                continue;
            }
            if isolates(spec, direction) {
                let rules = rules.get_or_insert_with(String::new);
                for (peers, ports) in self.allowed(endpoint, &namespace, spec, direction) {
                    for peer in &peers {
                        for port in &ports {
                            let name = policy.name_any();
                            let rule = format!("{peer} {port} return comment \"{namespace}/{name}\"");
                            let _ = writeln!(rules, "    {}", rule.trim_start());
                        }
                    }
                }
            }
        }
        rules
    }

    /// Matches for peers and for ports of each rule of a policy.
    fn allowed(
        &self,
        endpoint: &Endpoint,
        namespace: &str,
        spec: &NetworkPolicySpec,
        direction: Direction,
    ) -> Vec<(Vec<String>, Vec<String>)> {
        match direction {
            Direction::Ingress => {
                let own = std::slice::from_ref(endpoint);
                let rules = spec.ingress.iter().flatten();
                rules
                    .map(|r| {
                        let peers = self.peers(namespace, r.from.as_deref(), "saddr");
                        (peers, ports(r.ports.as_deref(), own))
                    })
                    .collect()
            }
            Direction::Egress => {
                let rules = spec.egress.iter().flatten();
                rules
                    .map(|r| {
                        let peers = self.peers(namespace, r.to.as_deref(), "daddr");
                        (peers, ports(r.ports.as_deref(), &self.endpoints))
                    })
                    .collect()
            }
        }
    }

    /// Matches for a list of peers. No list is everybody; peers that match nobody are no match.
    fn peers(&self, namespace: &str, peers: Option<&[NetworkPolicyPeer]>, field: &str) -> Vec<String> {
        let Some(peers) = peers.filter(|p| !p.is_empty()) else {
            return vec![String::new()];
        };
        let (mut matches, mut addresses) = (Vec::new(), Vec::new());
        for peer in peers {
            if let Some(block) = peer.ip_block.as_ref().filter(|b| !b.cidr.contains(':')) {
                let mut text = format!("ip {field} {}", block.cidr);
                if let Some(except) = block.except.as_ref().filter(|e| !e.is_empty()) {
                    let _ = write!(text, " ip {field} != {{ {} }}", except.join(", "));
                }
                matches.push(text);
            } else if peer.ip_block.is_none() {
                let chosen = self.endpoints.iter().filter(|e| self.is_peer(e, namespace, peer));
                addresses.extend(chosen.map(|e| e.address.as_str()));
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        if !addresses.is_empty() {
            matches.push(format!("ip {field} {{ {} }}", addresses.join(", ")));
        }
        matches
    }

    fn is_peer(&self, endpoint: &Endpoint, namespace: &str, peer: &NetworkPolicyPeer) -> bool {
        let namespace_fits = match &peer.namespace_selector {
            None => endpoint.namespace == namespace,
            Some(selector) => self.namespaces.get(&endpoint.namespace).is_some_and(|labels| matches(selector, labels)),
        };
        namespace_fits && selects(peer.pod_selector.as_ref(), &endpoint.labels)
    }
}

/// The table's name.
const TABLE: &str = "network_policy";

fn chain(endpoint: &Endpoint, direction: Direction) -> String {
    let address = endpoint.address.replace('.', "_");
    match direction {
        Direction::Ingress => format!("to_{address}"),
        Direction::Egress => format!("from_{address}"),
    }
}

fn map(field: &str, jumps: &[String]) -> String {
    if jumps.is_empty() {
        return String::new();
    }
    format!("    ip {field} vmap {{ {} }}\n", jumps.join(", "))
}

/// The API server fills in the types.
fn isolates(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let name = match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    spec.policy_types.iter().flatten().any(|t| t == name)
}

/// Matches for a list of ports. A named port is looked up in the pods that it leads to.
fn ports(ports: Option<&[NetworkPolicyPort]>, targets: &[Endpoint]) -> Vec<String> {
    let Some(ports) = ports.filter(|p| !p.is_empty()) else {
        return vec![String::new()];
    };
    let mut matches = Vec::new();
    for port in ports {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        match (&port.port, port.end_port) {
            (None, _) => matches.push(format!("meta l4proto {protocol}")),
            (Some(IntOrString::Int(first)), Some(last)) => {
                matches.push(format!("{protocol} dport {first}-{last}"));
            }
            (Some(IntOrString::Int(number)), None) => {
                matches.push(format!("{protocol} dport {number}"));
            }
            (Some(IntOrString::String(name)), _) => {
                for target in targets {
                    let named = |(n, p, _): &&(String, String, i32)| n == name && *p == protocol;
                    for (_, _, number) in target.ports.iter().filter(named) {
                        let address = &target.address;
                        matches.push(format!("ip daddr {address} {protocol} dport {number}"));
                    }
                }
            }
        }
    }
    matches
}

/// No selector is every pod here: the API server has one in every policy, peers may have none.
fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    selector.is_none_or(|s| matches(s, labels))
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let mut exact = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    exact.all(|(key, value)| labels.get(key) == Some(value))
        && expressions.all(|e| {
            let value = labels.get(&e.key);
            let listed = value.is_some_and(|v| e.values.iter().flatten().any(|l| l == v));
            match e.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(namespace: &str, labels: &Value, address: &str) -> Endpoint {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": namespace, "labels": labels},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running"},
        }));
        Endpoint::at(&pod.unwrap(), address).unwrap()
    }

    fn cluster(spec: &Value) -> Cluster {
        let policy = json!({"metadata": {"name": "np", "namespace": "a"}, "spec": spec});
        let labels = |name: &str| (name.to_owned(), Labels::from([("name".into(), name.into())]));
        Cluster {
            endpoints: vec![
                pod("a", &json!({"app": "web"}), "10.244.0.2"),
                pod("a", &json!({"app": "db"}), "10.244.0.3"),
                pod("b", &json!({"app": "db"}), "10.244.0.4"),
            ],
            namespaces: BTreeMap::from([labels("a"), labels("b")]),
            policies: vec![serde_json::from_value(policy).unwrap()],
        }
    }

    fn chain_of<'a>(table: &'a str, name: &str) -> Option<&'a str> {
        let (_, rest) = table.split_once(&format!("  chain {name} {{\n"))?;
        Some(rest.split_once("  }")?.0)
    }

    #[test]
    fn an_empty_policy_closes_its_own_namespace_only() {
        let table = cluster(&json!({"podSelector": {}, "policyTypes": ["Ingress"]})).table();
        assert_eq!(chain_of(&table, "to_10_244_0_2"), Some("    counter drop\n"));
        assert_eq!(chain_of(&table, "to_10_244_0_4"), None);
        assert_eq!(chain_of(&table, "from_10_244_0_2"), None);
    }

    #[test]
    fn a_named_port_is_looked_up_in_the_pod_it_leads_to() {
        let table = cluster(&json!({
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"podSelector": {"matchLabels": {"app": "db"}}}],
                "ports": [{"port": "http"}],
            }],
        }))
        .table();
        let rule = "    ip saddr { 10.244.0.3 } ip daddr 10.244.0.2 tcp dport 8080 return comment \"a/np\"\n    counter drop\n";
        assert_eq!(chain_of(&table, "to_10_244_0_2"), Some(rule));
        assert_eq!(chain_of(&table, "to_10_244_0_3"), None);
    }

    #[test]
    fn a_peer_in_another_namespace_needs_both_selectors() {
        let table = cluster(&json!({
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Egress"],
            "egress": [
                {"to": [{"namespaceSelector": {"matchLabels": {"name": "b"}},
                         "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}]},
                {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                 "ports": [{"protocol": "UDP", "port": 53}, {"port": 8000, "endPort": 8010}]},
                {"to": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]},
            ],
        }))
        .table();
        let rules = "    ip daddr { 10.244.0.4 }  return comment \"a/np\"\n    \
            ip daddr 10.0.0.0/8 ip daddr != { 10.1.0.0/16 } udp dport 53 return comment \"a/np\"\n    \
            ip daddr 10.0.0.0/8 ip daddr != { 10.1.0.0/16 } tcp dport 8000-8010 return comment \"a/np\"\n    \
            counter drop\n";
        assert_eq!(chain_of(&table, "from_10_244_0_2"), Some(rules));
        assert!(table.contains("ip saddr vmap { 10.244.0.2 : jump from_10_244_0_2 }"));
    }
}
