//! How the programs of a rig are called.

use std::path::Path;

use crate::cluster::certificates::Keys;

/// Ports on the loopback address.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// etcd, for clients.
    pub etcd: u16,
    /// etcd, for other members, of which there are none.
    pub peer: u16,
    /// The API server.
    pub api: u16,
}

/// So much may a database hold unless another quota is given: the recommended maximum.
const QUOTA: u64 = 8 << 30;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// etcd, which need not survive the machine. It may hold so many bytes.
pub fn etcd(folder: &Path, ports: Ports, quota: Option<u64>) -> Vec<String> {
    let Ports { etcd, peer, .. } = ports;
    let quota = quota.unwrap_or(QUOTA);
    words(&format!(
        "--data-dir={} --unsafe-no-fsync --quota-backend-bytes={quota} --log-level=warn
        --listen-client-urls=http://127.0.0.1:{etcd} --advertise-client-urls=http://127.0.0.1:{etcd}
        --listen-peer-urls=http://127.0.0.1:{peer} --initial-advertise-peer-urls=http://127.0.0.1:{peer}
        --initial-cluster=default=http://127.0.0.1:{peer}",
        folder.join("etcd").display(),
    ))
}

/// The API server. Nobody makes service accounts for pods, so none is asked of them.
pub fn api_server(folder: &Path, keys: &Keys, ports: Ports) -> Vec<String> {
    let key = |name: &str| keys.path(name).display().to_string();
    words(&format!(
        "--etcd-servers=http://127.0.0.1:{etcd} --bind-address=127.0.0.1 --secure-port={api}
        --advertise-address=127.0.0.1 --endpoint-reconciler-type=none
        --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true
        --client-ca-file={authority} --tls-cert-file={certificate} --tls-private-key-file={private} --cert-dir={folder}
        --service-account-issuer=https://kubernetes.default.svc
        --service-account-key-file={public} --service-account-signing-key-file={signing}
        --authorization-mode=Node,RBAC --disable-admission-plugins=ServiceAccount
        --audit-policy-file={policy} --audit-log-path={audit} --audit-log-maxsize=4096",
        etcd = ports.etcd,
        api = ports.api,
        folder = folder.display(),
        authority = key("ca.crt"),
        certificate = key("apiserver.crt"),
        private = key("apiserver.key"),
        public = key("accounts.pub"),
        signing = key("accounts.key"),
        policy = folder.join(POLICY).display(),
        audit = folder.join(AUDIT).display(),
    ))
}

/// File of what is audited.
pub const POLICY: &str = "audit.yaml";
/// The audit log.
pub const AUDIT: &str = "audit.log";

/// The controller manager with some controllers only.
pub fn controllers(kubeconfig: &Path, keys: &Keys, names: &[&str]) -> Vec<String> {
    let file = kubeconfig.display();
    words(&format!(
        "--kubeconfig={file} --authentication-kubeconfig={file} --authorization-kubeconfig={file} --secure-port=0
        --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000 --use-service-account-credentials=true
        --concurrent-gc-syncs=4 --service-account-private-key-file={} --root-ca-file={} --controllers={}",
        keys.path("accounts.key").display(),
        keys.path("ca.crt").display(),
        names.join(","),
    ))
}

/// The scheduler.
pub fn scheduler(kubeconfig: &Path) -> Vec<String> {
    let file = kubeconfig.display();
    words(&format!(
        "--kubeconfig={file} --authentication-kubeconfig={file} --authorization-kubeconfig={file} --secure-port=0
        --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000"
    ))
}
