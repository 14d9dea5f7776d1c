//! A bucket on a real S3 server, beside the pods of our own cluster: in the network of its node, with a certificate of an authority of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::{Value, json};

use super::machine::in_network_of;
use super::own::Own;
use super::{Outcome, Story, wait};
use crate::cluster::cache::Cache;
use crate::cluster::network::NODE_ADDRESS;
use crate::cluster::programs::{Program, VERSITYGW};
use crate::cluster::state::FirstProcess;
use crate::cluster::{build, files};

const BUCKET: &str = "sets";
const ACCESS_KEY: &str = "story-access-key";
const SECRET_KEY: &str = "story-secret-access-key";
const LIMIT: Duration = Duration::from_secs(30);

/// Names of the Secrets that [`Bucket::secrets`] makes.
const CREDENTIALS: &str = "s3-credentials";
const CA: &str = "s3-ca";

/// The bucket, and its server when it is up; that one ends with the value.
pub struct Bucket {
    port: u16,
    folder: tempfile::TempDir,
    program: PathBuf,
    authority: String,
    server: Option<Child>,
}

impl Bucket {
    /// An empty one, whose server does not run yet: on a port of the node that no other story uses.
    ///
    /// # Errors
    /// When the server can't be built, or the certificate can't be made.
    pub fn new(port: u16) -> Outcome<Self> {
        let program = Program::named(VERSITYGW).ok_or("no module builds versitygw")?;
        let program = build::program(&Cache::locate()?, program)?.join(VERSITYGW);
        let folder = tempfile::tempdir()?;
        for name in [&format!("data/{BUCKET}"), "sidecar"] {
            files::make_folder(&folder.path().join(name))?;
        }
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names.push(SanType::IpAddress(NODE_ADDRESS.into()));
        let key = KeyPair::generate()?;
        files::write(&folder.path().join("server.crt"), parameters.signed_by(&key, &authority)?.pem())?;
        files::write(&folder.path().join("server.key"), key.serialize_pem())?;
        Ok(Self { port, folder, program, authority: authority.pem(), server: None })
    }

    /// Where its server listens.
    pub fn address(&self) -> (Ipv4Addr, u16) {
        (NODE_ADDRESS, self.port)
    }

    /// As restic names what is below a prefix.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3:https://{NODE_ADDRESS}:{}/{BUCKET}/{prefix}", self.port)
    }

    /// What a resource says of it.
    pub fn spec(&self) -> Value {
        json!({
            "bucket": BUCKET, "region": "us-east-1", "endpoint": format!("https://{NODE_ADDRESS}:{}", self.port),
            "credentials": { "secretName": CREDENTIALS }, "caSecretName": CA, "limitUploadKiB": 20_000, "limitDownloadKiB": 20_000,
        })
    }

    /// Makes the Secrets that the resource names.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn secrets(&self, story: &Story) -> Outcome {
        let api: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
        let credentials = json!({ "accessKeyID": ACCESS_KEY, "secretAccessKey": SECRET_KEY });
        for (name, content) in [(CREDENTIALS, credentials), (CA, json!({ "ca.crt": self.authority }))] {
            let secret = json!({ "metadata": { "name": name }, "stringData": content });
            api.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        }
        Ok(())
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What lets one in, by the names of the files that it is kept in.
    pub fn access(&self) -> [(&'static str, &'static str); 2] {
        [("accessKeyID", ACCESS_KEY), ("secretAccessKey", SECRET_KEY)]
    }

    /// Starts the server in the network of the node.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub async fn serve(&mut self, own: &Own) -> Outcome {
        self.serve_in(own.process).await
    }

    /// Starts the server in the network of this process, which has the address.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub async fn serve_in(&mut self, network: FirstProcess) -> Outcome {
        let place = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(&self.program);
        command.args(["--port", &format!("{NODE_ADDRESS}:{}", self.port), "--quiet"]);
        // What it takes for a relative path lies in its data.
        command.arg("--cert").arg(place("server.crt")).arg("--key").arg(place("server.key"));
        command.arg("posix").arg("--sidecar").arg(place("sidecar")).arg(place("data"));
        command.env("ROOT_ACCESS_KEY_ID", ACCESS_KEY).env("ROOT_SECRET_ACCESS_KEY", SECRET_KEY);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(in_network_of(network, move || command.spawn())?);
        let address = SocketAddr::from(self.address());
        let answers = async || in_network_of(network, || TcpStream::connect(address)).map(drop);
        Ok(wait::ask("the S3 server to listen", LIMIT, answers).await?)
    }

    /// Something that listens beside the server, and that no instance needs. Returns its port.
    ///
    /// # Errors
    /// When the node does not take it.
    pub fn neighbour(own: &Own) -> Outcome<(TcpListener, u16)> {
        let listener = in_network_of(own.process, || TcpListener::bind((NODE_ADDRESS, 0)))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    /// Ends the server.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn end(&mut self) -> io::Result<()> {
        self.server.take().map_or(Ok(()), |mut server| {
            server.kill()?;
            server.wait().map(drop)
        })
    }

    /// Bytes of all objects.
    ///
    /// # Errors
    /// When its folder can't be read.
    pub fn size(&self) -> Outcome<u64> {
        Ok(self.objects()?.into_iter().map(|(_, size)| size).sum())
    }

    /// The file of the largest pack.
    ///
    /// # Errors
    /// When its folder can't be read, or there is none.
    pub fn largest_pack(&self) -> Outcome<PathBuf> {
        let packs = self.objects()?.into_iter().filter(|(path, _)| is_pack(path));
        Ok(packs.max_by_key(|(_, size)| *size).ok_or("there is no pack")?.0)
    }

    /// Names of the objects below a prefix, in order.
    ///
    /// # Errors
    /// When its folder can't be read.
    pub fn names(&self, prefix: &str) -> Outcome<Vec<PathBuf>> {
        let below = self.folder.path().join("data").join(BUCKET).join(prefix);
        let mut names: Vec<PathBuf> = self.objects()?.into_iter().map(|(path, _)| path).filter(|path| path.starts_with(&below)).collect();
        names.sort();
        Ok(names)
    }

    fn objects(&self) -> Outcome<Vec<(PathBuf, u64)>> {
        let mut folders = vec![self.folder.path().join("data")];
        let mut objects = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in files::list(&folder)? {
                match path.metadata() {
                    Ok(found) if found.is_dir() => folders.push(path),
                    Ok(found) => objects.push((path, found.len())),
                    // It went meanwhile.
                    Err(_) => {}
                }
            }
        }
        Ok(objects)
    }
}

/// restic has packs in `data/<two digits>/<name>`.
fn is_pack(path: &Path) -> bool {
    path.parent().and_then(Path::parent).is_some_and(|folder| folder.ends_with("data"))
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
