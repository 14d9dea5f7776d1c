//! Images, memory and placement of the pods, and who may connect to them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The DHIS2 image. There is no tag here: the version says it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Repository without tag. Default: the operator's, `docker.io/dhis2/core`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::repository")]
    pub repository: Option<String>,
    /// Digest `sha256:…` that pins the image: tags of DHIS2 are rebuilt in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::digest")]
    pub digest: Option<String>,
    /// When the kubelet pulls it. Default `IfNotPresent`.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Names of Secrets of this namespace with the credentials of the registry; for all pods of the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::object_names")]
    pub pull_secrets: Vec<String>,
}

/// When an image is pulled.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// At each start.
    Always,
    /// Never: the node must have it.
    Never,
}

impl PullPolicy {
    /// The name that the pod API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::IfNotPresent => "IfNotPresent",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }
}

/// The Java virtual machine of DHIS2.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Java {
    /// Share of the container's memory limit that the heap may take, in percent. Default 65.
    #[serde(default = "sixty_five")]
    #[schemars(range(min = 25, max = 80))]
    pub heap_percent: i32,
    /// Further options of the virtual machine, such as `-XX:MaxGCPauseMillis=1500`: `-XX:` and `-D` ones
    /// without blanks. Those that load code (agents, `-XX:OnOutOfMemoryError`, …) and those that the
    /// operator sets are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::java_options")]
    pub options: Vec<String>,
}

impl Default for Java {
    fn default() -> Self {
        Self { heap_percent: sixty_five(), options: Vec::new() }
    }
}

fn sixty_five() -> i32 {
    65
}

/// CPU and memory of a container. Memory is both request and limit, so that the node never has to
/// take it back; CPU is a request, with a limit only where one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.cpu) || !has(self.cpuLimit) || quantity(self.cpu).compareTo(quantity(self.cpuLimit)) <= 0")
    .message("the limit must not be less than what is requested in cpu").field_path(".cpuLimit"))]
pub struct Resources {
    /// Memory, such as `4Gi`. Default: from `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::memory_quantity")]
    pub memory: Option<String>,
    /// CPU request, such as `500m` or `2`. Default: from `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::cpu_quantity")]
    pub cpu: Option<String>,
    /// CPU limit. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::cpu_quantity")]
    pub cpu_limit: Option<String>,
}

/// Where the pods of the instance run, and what else they carry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = super::schema::no_inner_docs)]
    pub tolerations: Vec<Toleration>,
    /// Node and pod affinity of DHIS2 and the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::no_inner_docs)]
    pub affinity: Option<Affinity>,
    /// How the pods are spread over the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = super::schema::no_inner_docs, transform = super::schema::spread_once)]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of DHIS2 and the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::class_name")]
    pub priority_class_name: Option<String>,
    /// Further labels of all pods. `kubernetes.io` and `dhis2.hosting` names are refused. A change restarts
    /// no pod: it is seen on pods that start later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::foreign_labels")]
    pub labels: BTreeMap<String, String>,
    /// Further annotations of all pods, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::foreign_annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Who may connect to the instance inside the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.allowFrom) || self.allowFrom.all(p, has(p.ipBlock) != (has(p.podSelector) || has(p.namespaceSelector)))")
    .message("each entry must name an ipBlock, or pods by podSelector, namespaceSelector or both").field_path(".allowFrom"))]
pub struct Network {
    /// Make NetworkPolicies: the database is reached by DHIS2 and the operator's agents only, DHIS2 by
    /// the ingress controller and them. Default true.
    #[serde(default = "yes")]
    pub policies: bool,
    /// Who besides the ingress controller may connect to DHIS2, as in a NetworkPolicy's `from`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = super::schema::no_inner_docs, length(max = 16))]
    pub allow_from: Vec<NetworkPolicyPeer>,
}

impl Default for Network {
    fn default() -> Self {
        Self { policies: true, allow_from: Vec::new() }
    }
}

fn yes() -> bool {
    true
}
