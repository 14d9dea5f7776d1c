//! The cluster's certificate authority, who is who in it, and the kubeconfig of each.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use serde_json::json;

use super::files;
use super::network::{API_SERVICE, NODE_ADDRESS};

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A certificate.
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// Who asks the API server, by the name of their kubeconfig.
pub const ADMIN: &str = "admin";
/// The controller manager.
pub const CONTROLLERS: &str = "controllers";
/// The scheduler.
pub const SCHEDULER: &str = "scheduler";
/// The kubelet.
pub const KUBELET: &str = "kubelet";
/// kube-proxy.
pub const PROXY: &str = "proxy";
/// Our provisioner of volumes and our enforcer of network policies.
pub const NODE_AGENT: &str = "node-agent";

/// Common name and, where it takes one, group of each.
const CLIENTS: &[(&str, &str, &str)] = &[
    (ADMIN, "admin", "system:masters"),
    (CONTROLLERS, "system:kube-controller-manager", ""),
    (SCHEDULER, "system:kube-scheduler", ""),
    (KUBELET, "system:node:node1", "system:nodes"),
    (PROXY, "system:kube-proxy", ""),
    (NODE_AGENT, "dhis2-cluster:node-agent", ""),
];

/// The folder of keys, certificates and kubeconfigs of a cluster.
#[derive(Clone, Debug)]
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// The keys in this folder; makes those that are not there.
    pub fn ensure(folder: &Path) -> Result<Self, Error> {
        let keys = Self { folder: folder.to_owned() };
        // Written last.
        if !keys.path("complete").exists() {
            files::make_folder(folder)?;
            keys.make()?;
            files::write(&keys.path("complete"), "")?;
        }
        Ok(keys)
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The kubeconfig of a client inside the cluster's namespaces.
    pub fn kubeconfig(&self, client: &str) -> PathBuf {
        self.path(&format!("{client}.kubeconfig"))
    }

    /// The administrator's kubeconfig as text, for another address of the API server.
    pub fn admin(&self, server: &str) -> Result<String, Error> {
        self.text(ADMIN, server)
    }

    fn make(&self) -> Result<(), Error> {
        let authority = authority()?;
        files::write(&self.path("ca.crt"), authority.pem())?;
        files::write(&self.path("ca.key"), authority.key().serialize_pem())?;
        let accounts = KeyPair::generate()?;
        files::write(&self.path("accounts.key"), accounts.serialize_pem())?;
        files::write(&self.path("accounts.pub"), accounts.public_key_pem())?;
        self.issue(&authority, "apiserver", &server()?)?;
        for (file, name, group) in CLIENTS {
            self.issue(&authority, file, &client(name, group))?;
            let text = self.text(file, "https://127.0.0.1:6443")?;
            files::write(&self.kubeconfig(file), text)?;
        }
        Ok(())
    }

    fn issue(&self, authority: &CertifiedIssuer<'_, KeyPair>, file: &str, parameters: &CertificateParams) -> Result<(), Error> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, authority)?;
        files::write(&self.path(&format!("{file}.crt")), certificate.pem())?;
        files::write(&self.path(&format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// The kubeconfig of one of the clients that have a certificate, as text.
    pub fn text(&self, client: &str, server: &str) -> Result<String, Error> {
        let data = |name: &str| Ok::<_, files::Error>(base64(&files::read(&self.path(name))?));
        let user = json!({
            "client-certificate-data": data(&format!("{client}.crt"))?,
            "client-key-data": data(&format!("{client}.key"))?,
        });
        Ok(kubeconfig(server, &files::read(&self.path("ca.crt"))?, "default", &user))
    }
}

/// A kubeconfig of one user of one server, whose certificate this authority signed.
pub fn kubeconfig(server: &str, authority: &str, namespace: &str, user: &serde_json::Value) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster",
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "user", "namespace": namespace}}],
        "clusters": [{"name": "cluster", "cluster": {
            "server": server,
            "certificate-authority-data": base64(authority),
        }}],
        "users": [{"name": "user", "user": user}],
    });
    // JSON is YAML.
    format!("{config:#}\n")
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut parameters = named("dhis2-cluster", "");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?)
}

fn server() -> Result<CertificateParams, Error> {
    let mut parameters = named("kube-apiserver", "");
    for name in ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"] {
        parameters.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    for address in [IpAddr::from([127, 0, 0, 1]), API_SERVICE.into(), NODE_ADDRESS.into()] {
        parameters.subject_alt_names.push(SanType::IpAddress(address));
    }
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

fn client(name: &str, group: &str) -> CertificateParams {
    let mut parameters = named(name, group);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

fn named(name: &str, group: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    if !group.is_empty() {
        parameters.distinguished_name.push(DnType::OrganizationName, group);
    }
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2120, 1, 1);
    parameters
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
