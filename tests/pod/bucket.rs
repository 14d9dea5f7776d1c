//! A bucket on a real S3 server with a certificate of its own authority, and what the pods of an instance know of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dhis2_operator::layout;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use super::{Pod, await_that, built};

pub const ACCESS_KEY: &str = "Access-Key-1234";
pub const SECRET_KEY: &str = "Secret-Access-Key-1234";
const BUCKET: &str = "sets";
pub const PORT: u16 = 9443;

/// The server; killed when the value is dropped.
pub struct Server {
    folder: tempfile::TempDir,
    address: String,
    authority: String,
    child: Option<Child>,
}

impl Server {
    /// Starts one beside this pod, with an empty bucket.
    pub fn start(pod: &Pod) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data/sets", "sidecar"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let authority = certificate(folder.path(), &pod.address);
        let mut server = Self { folder, address: pod.address.clone(), authority, child: None };
        server.go_on();
        server.let_in(pod);
        server
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
        command.args(["--port", &format!("{}:{PORT}", self.address), "--quiet"]).args(more);
        // What it takes for a relative path lies in its data.
        command.arg("--cert").arg(place("server.crt")).arg("--key").arg(place("server.key"));
        command.arg("posix").arg("--sidecar").arg(place("sidecar")).arg(place("data"));
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
        for (key, value) in [(layout::S3_ACCESS_KEY_ID, ACCESS_KEY), (layout::S3_SECRET_ACCESS_KEY, SECRET_KEY)] {
            pod.write(&format!("{}/{key}", layout::S3_CREDENTIALS), value);
        }
        pod.write(&authority_place(), &self.authority);
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
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>().unwrap()));
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("server.crt"), parameters.signed_by(&key, &authority).unwrap().pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    authority.pem()
}
