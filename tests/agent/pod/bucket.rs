//! A bucket on a real S3 server with a certificate of its own authority, and what the pods of an instance know of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dhis2_operator::layout;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

use super::signed::{self, Request};
use super::{Pod, await_that, built};

pub const ACCESS_KEY: &str = "Access-Key-1234";
pub const SECRET_KEY: &str = "Secret-Access-Key-1234";
pub const BUCKET: &str = "sets";
pub const PORT: u16 = 9443;

/// The server; killed when the value is dropped.
pub struct Server {
    folder: tempfile::TempDir,
    address: String,
    authority: String,
    versions: bool,
    child: Option<Child>,
}

impl Server {
    /// Starts one beside this pod, with an empty bucket.
    pub fn start(pod: &Pod) -> Self {
        let server = Self::without_bucket(pod, false);
        fs::create_dir(server.folder.path().join("data").join(BUCKET)).unwrap();
        server
    }

    /// Likewise, with a bucket that lets nothing be removed for a day. Where it has versions, as with AWS, what is deleted is hidden.
    pub fn start_with_object_lock(pod: &Pod, versions: bool) -> Self {
        const RETENTION: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
            <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        let server = Self::without_bucket(pod, versions);
        let bucket = Request { method: "PUT", header: Some("x-amz-bucket-object-lock-enabled: true"), ..Request::default() };
        server.ask(&format!("/{BUCKET}"), &bucket).done();
        server.ask(&format!("/{BUCKET}?object-lock="), &Request { method: "PUT", body: RETENTION, ..Request::default() }).done();
        server
    }

    fn without_bucket(pod: &Pod, versions: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data", "sidecar", "iam", "versions"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let authority = certificate(folder.path(), &pod.address);
        fs::write(folder.path().join("ca.crt"), &authority).unwrap();
        let mut server = Self { folder, address: pod.address.clone(), authority, versions, child: None };
        server.go_on();
        server.let_in(pod);
        server
    }

    /// What it answers to whom it belongs to.
    pub fn ask(&self, target: &str, request: &Request<'_>) -> signed::Answer {
        signed::ask(&format!("https://{}:{PORT}{target}", self.address), &self.authority(), request)
    }

    /// Lets a key do this below the prefix of the instance, and nothing else but list the bucket.
    pub fn allow(&self, name: &str, allowed: &[(&str, &str)]) {
        let statement = |actions: &str, resource: &str| {
            let actions: Vec<_> = actions.split(' ').map(|action| format!("s3:{action}")).collect();
            serde_json::json!({
                "Effect": "Allow",
                "Principal": { "AWS": [name] },
                "Action": actions,
                "Resource": format!("arn:aws:s3:::{BUCKET}{resource}"),
            })
        };
        let bucket = std::iter::once(statement("ListBucket GetBucketLocation", ""));
        let statements: Vec<_> =
            bucket.chain(allowed.iter().map(|(actions, below)| statement(actions, &format!("/demo/play/{below}")))).collect();
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        self.ask(&format!("/{BUCKET}?policy="), &Request { method: "PUT", body: &policy, ..Request::default() }).done();
    }

    /// A command of its administrator.
    pub fn administer(&self, arguments: &[&str]) {
        let mut command = Command::new(built("versitygw").unwrap());
        command.args(["admin", "--allow-insecure", "--endpoint-url", &format!("https://{}:{PORT}", self.address)]).args(arguments);
        command.env("ADMIN_ACCESS_KEY_ID", ACCESS_KEY).env("ADMIN_SECRET_ACCESS_KEY", SECRET_KEY);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it anew with what it has.
    pub fn go_on(&mut self) {
        self.run(&[], Command::new);
    }

    /// Likewise, and it takes nothing more.
    pub fn go_on_for_readers(&mut self) {
        self.run(&["--readonly"], Command::new);
    }

    /// Starts it with an empty bucket on a disk of so many MiB of its own, which goes with it.
    pub fn go_on_with_little_room(&mut self, mib: u32) {
        let data = self.folder.path().join("data");
        let script = format!("mount -t tmpfs -o size={mib}m none \"$0\" && mkdir \"$0/{BUCKET}\" && exec \"$@\"");
        self.run(&[], |program| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &script]).arg(data).arg(program);
            command
        });
    }

    fn run(&mut self, more: &[&str], start: impl FnOnce(PathBuf) -> Command) {
        let program = built("versitygw").expect("versitygw: cargo run -p dhis2-e2e --bin dhis2-cluster -- build --only versitygw");
        let place = |name: &str| self.folder.path().join(name);
        let mut command = start(program);
        command.args(["--port", &format!("{}:{PORT}", self.address), "--quiet", "--iam-cache-disable"]).args(more);
        // What it takes for a relative path lies in its data.
        command.arg("--cert").arg(place("server.crt")).arg("--key").arg(place("server.key"));
        command.arg("--iam-dir").arg(place("iam"));
        command.arg("posix").arg("--sidecar").arg(place("sidecar"));
        if self.versions {
            command.arg("--versioning-dir").arg(place("versions"));
        }
        command.arg(place("data"));
        command.env("ROOT_ACCESS_KEY_ID", ACCESS_KEY).env("ROOT_SECRET_ACCESS_KEY", SECRET_KEY);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        await_that("the S3 server listens", || TcpStream::connect((self.address.as_str(), PORT)).is_ok());
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Gives the pods of an instance what the resource names.
    pub fn let_in(&self, pod: &Pod) {
        self.let_in_as(pod, ACCESS_KEY, SECRET_KEY);
    }

    /// Likewise, with this key.
    pub fn let_in_as(&self, pod: &Pod, name: &str, secret: &str) {
        for (key, value) in [(layout::S3_ACCESS_KEY_ID, name), (layout::S3_SECRET_ACCESS_KEY, secret)] {
            pod.write(&format!("{}/{key}", layout::S3_CREDENTIALS), value);
        }
        pod.write(&authority_place(), &self.authority);
    }

    /// Its certificate and the key of it.
    pub fn identity(&self) -> [PathBuf; 2] {
        ["server.crt", "server.key"].map(|name| self.folder.path().join(name))
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// What the agent is told of the bucket.
    pub fn arguments(&self) -> Vec<String> {
        self.arguments_at(PORT)
    }

    /// Likewise, where this port leads to it.
    pub fn arguments_at(&self, port: u16) -> Vec<String> {
        let url = format!("s3:https://{}:{port}/{BUCKET}/demo/play", self.address);
        ["--s3", &url, "--s3-path-style", "--s3-ca", "--s3-region", "us-east-1", "--s3-patience", "2"].map(str::to_owned).to_vec()
    }

    /// All objects with their content.
    pub fn objects(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let data = self.folder.path().join("data").join(BUCKET);
        let files = super::walk(&data).into_iter().filter(|path| path.is_file());
        files.filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect()
    }

    /// How many packs there are.
    pub fn packs(&self) -> usize {
        let data = self.folder.path().join("data").join(BUCKET).join("demo/play/data");
        let folders = fs::read_dir(data).into_iter().flatten().flatten();
        folders.map(|folder| fs::read_dir(folder.path()).into_iter().flatten().count()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the authority of the server is mounted.
pub fn authority_place() -> String {
    format!("{}/{}", layout::S3_CA, layout::S3_CA_CERTIFICATE)
}

/// Writes key and certificate of a server at this address; returns the certificate of their authority.
pub fn certificate(folder: &Path, address: &str) -> String {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A certificate that is named as its authority counts as signed by itself (OpenSSL).
    parameters.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>().unwrap()));
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("server.crt"), parameters.signed_by(&key, &authority).unwrap().pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    authority.pem()
}
