//! The programs that make up the cluster, how each is called, and their configuration files.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::certificates::{CONTROLLERS, KUBELET, Keys, NODE_AGENT, PROXY, SCHEDULER};
use super::images::PAUSE;
use super::network::{DNS_SERVICE, NODE, NODE_ADDRESS, PODS, SERVICES};
use super::state::Place;
use super::{files, gate};

/// A program that is started, and started again whenever it ends.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name, and that of its log.
    pub name: &'static str,
    /// What to run.
    pub command: Vec<String>,
    /// Whether it is of no use before the API server answers.
    pub after_api: bool,
}

fn component(name: &'static str, after_api: bool, command: &str) -> Component {
    Component { name, command: command.split_whitespace().map(str::to_owned).collect(), after_api }
}

/// All programs of a cluster, in the order of their start.
pub fn all(place: &Place, keys: &Keys, fsync: bool) -> Vec<Component> {
    let mut all = vec![
        etcd(place, fsync),
        api_server(place, keys),
        component("containerd", false, "containerd -c /run/containerd.toml"),
        controllers(keys),
        scheduler(keys),
        kubelet(keys),
        component("kube-proxy", true, "kube-proxy --config=/run/kube-proxy.yaml"),
    ];
    let kubeconfig = keys.kubeconfig(NODE_AGENT).display().to_string();
    let volumes = place.volumes().display().to_string();
    for (name, command) in
        [("provisioner", vec!["provisioner", &kubeconfig, &volumes]), ("network-policy", vec!["network-policy", &kubeconfig])]
    {
        let own = ["/proc/self/exe"].into_iter().chain(command);
        all.push(Component { name, command: own.map(str::to_owned).collect(), after_api: true });
    }
    all
}

fn etcd(place: &Place, fsync: bool) -> Component {
    let data = place.folder.join("etcd");
    let safety = if fsync { "" } else { "--unsafe-no-fsync" };
    component(
        "etcd",
        false,
        &format!(
            "etcd --data-dir={} {safety}
            --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379
            --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380
            --initial-cluster=default=http://127.0.0.1:2380",
            data.display(),
        ),
    )
}

fn api_server(place: &Place, keys: &Keys) -> Component {
    let key = |name: &str| keys.path(name).display().to_string();
    component(
        "kube-apiserver",
        false,
        &format!(
            "kube-apiserver --etcd-servers=http://127.0.0.1:2379
            --bind-address=0.0.0.0 --secure-port=6443 --advertise-address={NODE_ADDRESS}
            --service-cluster-ip-range={SERVICES} --allow-privileged=true
            --client-ca-file={ca} --tls-cert-file={certificate} --tls-private-key-file={private}
            --cert-dir=/run/kube-apiserver
            --service-account-issuer=https://kubernetes.default.svc
            --service-account-key-file={public} --service-account-signing-key-file={signing}
            --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
            --kubelet-client-certificate={admin} --kubelet-client-key={admin_key}
            --kubelet-preferred-address-types=InternalIP
            --audit-policy-file=/run/audit.yaml --audit-log-path={audit} --audit-log-maxsize=1024",
            ca = key("ca.crt"),
            certificate = key("apiserver.crt"),
            private = key("apiserver.key"),
            public = key("accounts.pub"),
            signing = key("accounts.key"),
            admin = key("admin.crt"),
            admin_key = key("admin.key"),
            audit = place.logs().join("audit.log").display(),
        ),
    )
}

/// How a component finds the API server and whom it lets ask it in turn.
fn client(keys: &Keys, name: &str) -> String {
    let file = keys.kubeconfig(name).display().to_string();
    format!(
        "--kubeconfig={file} --authentication-kubeconfig={file} --authorization-kubeconfig={file}
        --bind-address=127.0.0.1 --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000"
    )
}

fn controllers(keys: &Keys) -> Component {
    let authority = keys.path("ca.crt").display().to_string();
    let authority_key = keys.path("ca.key").display().to_string();
    component(
        "kube-controller-manager",
        true,
        &format!(
            "kube-controller-manager {} --use-service-account-credentials=true
            --service-account-private-key-file={} --root-ca-file={authority}
            --cluster-signing-cert-file={authority} --cluster-signing-key-file={authority_key}
            --allocate-node-cidrs=false --flex-volume-plugin-dir=/run/flexvolume",
            client(keys, CONTROLLERS),
            keys.path("accounts.key").display(),
        ),
    )
}

fn scheduler(keys: &Keys) -> Component {
    let command = format!("kube-scheduler {}", client(keys, SCHEDULER));
    component("kube-scheduler", true, &command)
}

fn kubelet(keys: &Keys) -> Component {
    component(
        "kubelet",
        true,
        &format!(
            "kubelet --config=/run/kubelet.yaml --kubeconfig={} --hostname-override={NODE}
            --node-ip={NODE_ADDRESS} --root-dir=/var/lib/kubelet --cert-dir=/var/lib/kubelet/pki",
            keys.kubeconfig(KUBELET).display(),
        ),
    )
}

/// Writes the configuration files into the cluster's own `/run`.
pub fn configure(keys: &Keys) -> Result<(), files::Error> {
    let text = |template: &str| {
        template
            .replace("@CA@", &keys.path("ca.crt").display().to_string())
            .replace("@PROXY@", &keys.kubeconfig(PROXY).display().to_string())
            .replace("@NODE@", NODE)
            .replace("@PODS@", PODS)
            .replace("@PAUSE@", PAUSE)
            .replace("@GATE@", gate::PLUGIN)
            .replace("@DNS@", &DNS_SERVICE.to_string())
    };
    let plugins = Path::new("/run/cni/bin");
    files::make_folder(plugins)?;
    // This program, also when its file has been built anew meanwhile.
    let plugin = plugins.join(gate::PLUGIN);
    symlink("/proc/1/exe", &plugin).map_err(|e| files::Error::new("link", &plugin, e))?;
    for (file, template) in [
        ("audit.yaml", include_str!("../../cluster/config/audit.yaml")),
        ("cni/10-bridge.conflist", include_str!("../../cluster/config/cni.conflist")),
        ("containerd.toml", include_str!("../../cluster/config/containerd.toml")),
        ("kube-proxy.yaml", include_str!("../../cluster/config/kube-proxy.yaml")),
        ("kubelet.yaml", include_str!("../../cluster/config/kubelet.yaml")),
    ] {
        files::write(&Path::new("/run").join(file), text(template))?;
    }
    files::write(Path::new("/run/resolv.conf"), resolver(DNS_SERVICE))
}

fn resolver(server: Ipv4Addr) -> String {
    format!("nameserver {server}\n")
}
