//! A bucket that the repository is in: where it is, what its server lets in, and how restic is told.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::secret;
use crate::layout;
use crate::report::Refusal;

/// The variables that restic takes credentials from.
const VARIABLES: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// The option that tells restic the region.
const REGION: &str = "s3.region=";

/// Where the repository is.
#[derive(Clone, Debug, Default, Args)]
pub struct Address {
    /// The repository in S3, as restic names it: `s3:https://<host>/<bucket>/<prefix>` [default: on the volume of backups]
    #[arg(long, value_name = "URL")]
    pub s3: Option<String>,
    /// Region of the bucket [default: the server is asked]
    #[arg(long, value_name = "REGION", requires = "s3")]
    pub s3_region: Option<String>,
    /// The bucket is named in the path of a request, not in its host
    #[arg(long, requires = "s3")]
    pub s3_path_style: bool,
    /// The server's certificate is signed by the authority that is mounted, and by no public one
    #[arg(long, requires = "s3")]
    pub s3_ca: bool,
    /// KiB a second that are sent at most [default: no limit]
    #[arg(long, value_name = "KIB", requires = "s3")]
    pub s3_limit_upload: Option<u32>,
    /// KiB a second that are fetched at most [default: no limit]
    #[arg(long, value_name = "KIB", requires = "s3")]
    pub s3_limit_download: Option<u32>,
    /// It is not the instance's own, and not even a lock is written to it; what names it, for people
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "bootstrap")]
    pub read_only: Option<ReadFor>,
    /// Seconds for which requests are repeated that fail one after the other
    #[arg(long, value_name = "SECONDS", requires = "s3", default_value_t = 300)]
    pub s3_patience: u64,
}

/// What names a repository that is only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadFor {
    /// What a new instance begins with.
    Bootstrap,
    /// A request to restore.
    Restore,
    /// A request to restore, by the name of a copy of the instance.
    Copy,
    /// Either, by the name of another instance.
    Instance,
}

impl ReadFor {
    /// The fields of the bucket and of the Secret with the key.
    pub fn fields(self) -> [&'static str; 2] {
        match self {
            Self::Bootstrap => ["spec.bootstrap.fromBackup.repository.s3", "spec.bootstrap.fromBackup.passwordSecretName"],
            Self::Restore => ["spec.from.repository.s3", "spec.from.passwordSecretName"],
            Self::Instance => ["the other instance's spec.backup.repository.s3", "the other instance, <name>-backup,"],
            Self::Copy => ["spec.backup.copies[].s3", "spec.backup.copies[].passwordSecretName"],
        }
    }
}

/// The parts of an address in S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Scheme, host and port.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// What the names of the objects begin with.
    pub prefix: String,
}

impl Place {
    /// The parts of `s3:https://<host>/<bucket>/<prefix>`.
    pub fn of(url: &str) -> Option<Self> {
        let (host, rest) = url.strip_prefix("s3:https://")?.split_once('/')?;
        let (bucket, prefix) = rest.split_once('/')?;
        let whole = [host, bucket, prefix].iter().all(|part| !part.is_empty());
        whole.then(|| Self {
            endpoint: format!("https://{host}"),
            bucket: bucket.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }
}

/// A bucket that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the resource names lacks something.
    #[error("the Secret of {bucket}.{field} does not exist, or holds nothing under the key {key}")]
    Missing {
        /// The field that names the bucket.
        bucket: &'static str,
        /// The field of it that names the Secret.
        field: &'static str,
        /// The key in it.
        key: &'static str,
    },
    /// What is mounted can't be read.
    #[error(transparent)]
    Secret(#[from] secret::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        matches!(self, Self::Missing { .. }).then_some(Refusal::SecretMissing)
    }
}

/// A bucket and what its server lets in.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// As restic names it.
    pub url: String,
    /// The field of the resource that names it.
    pub field: &'static str,
    /// For how long requests are repeated that fail one after the other.
    pub patience: Duration,
    options: Vec<String>,
    limits: [Option<String>; 2],
    credentials: [secret::Value; 2],
    ca: Option<PathBuf>,
}

impl Bucket {
    /// The bucket of this address, which `field` of the resource names; none when the repository is on a volume.
    pub fn find(address: &Address, paths: &Paths, field: &'static str) -> Result<Option<Self>, Error> {
        let Some(url) = &address.s3 else { return Ok(None) };
        let region = address.s3_region.iter().map(|region| format!("{REGION}{region}"));
        let lookup = address.s3_path_style.then(|| "s3.bucket-lookup=path".to_owned());
        // What fails is tried again by restic itself, which tells so; below it that would only take time.
        let options = region.chain(lookup).chain(["s3.retries=2".to_owned()]).collect();
        let credential = |key| mounted(paths, layout::S3_CREDENTIALS, (field, "credentials.secretName"), key);
        let ca =
            address.s3_ca.then(|| mounted(paths, layout::S3_CA, (field, "caSecretName"), layout::S3_CA_CERTIFICATE).map(|_| ca(paths)));
        Ok(Some(Self {
            url: url.clone(),
            field,
            patience: Duration::from_secs(address.s3_patience),
            options,
            limits: [("upload", address.s3_limit_upload), ("download", address.s3_limit_download)]
                .map(|(way, limit)| limit.map(|limit| format!("--limit-{way}={limit}"))),
            credentials: [credential(layout::S3_ACCESS_KEY_ID)?, credential(layout::S3_SECRET_ACCESS_KEY)?],
            ca: ca.transpose()?,
        }))
    }

    /// Tells restic. Its arguments can be seen by all on the node, its environment by its user only.
    pub fn tell(&self, restic: &mut Command) {
        restic.env("RESTIC_REPOSITORY", &self.url);
        restic.envs(VARIABLES.into_iter().zip(self.credentials.iter().map(secret::Value::reveal)));
        restic.args(self.options.iter().flat_map(|option| ["-o", option])).args(self.limits.iter().flatten());
        if let Some(ca) = &self.ca {
            restic.arg("--cacert").arg(ca);
        }
    }

    /// The same, where restic has to ask which region it is in; none when it has to anyhow.
    pub fn without_region(&self) -> Option<Self> {
        let options: Vec<_> = self.options.iter().filter(|option| !option.starts_with(REGION)).cloned().collect();
        (options.len() < self.options.len()).then(|| Self { options, ..self.clone() })
    }

    /// What a server says may repeat what it was sent.
    pub fn without_secrets(&self, said: &str) -> String {
        let [_, key] = &self.credentials;
        said.replace(key.reveal(), "[secret]")
    }
}

/// The program `env`, so that what restic runs gets nothing of what restic was told.
pub fn env_without_credentials() -> Vec<&'static str> {
    std::iter::once("env").chain(VARIABLES.into_iter().flat_map(|variable| ["-u", variable])).collect()
}

fn ca(paths: &Paths) -> PathBuf {
    paths.of(layout::S3_CA).join(layout::S3_CA_CERTIFICATE)
}

/// `fields`: that of the bucket, and that of it which names the Secret.
fn mounted(paths: &Paths, place: &str, fields: (&'static str, &'static str), key: &'static str) -> Result<secret::Value, Error> {
    let (bucket, field) = fields;
    secret::read(&paths.of(place).join(key)).map_err(|error| match error {
        secret::Error::Empty(_) => Error::Missing { bucket, field, key },
        secret::Error::Read(_, ref cause) if cause.kind() == io::ErrorKind::NotFound => Error::Missing { bucket, field, key },
        error @ secret::Error::Read(..) => Error::Secret(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: &str = "spec.backup.repository.s3";

    fn address() -> Address {
        Address { s3: Some("s3:https://s3.example.org/sets/demo/play".into()), s3_path_style: true, s3_patience: 1, ..Address::default() }
    }

    fn with(keys: &[(&str, &str)]) -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        for (key, value) in keys {
            let path = paths.of(layout::S3_CREDENTIALS).join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value).unwrap();
        }
        (root, paths)
    }

    #[test]
    fn what_is_missing_is_told_with_its_field() {
        for keys in [&[][..], &[("accessKeyID", "A")], &[("accessKeyID", "A"), ("secretAccessKey", "\n")]] {
            let (_root, paths) = with(keys);
            let error = Bucket::find(&address(), &paths, FIELD).unwrap_err();
            assert_eq!(error.reason(), Some(Refusal::SecretMissing));
            assert!(error.to_string().contains("spec.backup.repository.s3.credentials.secretName"), "{error}");
        }
        let (_root, paths) = with(&[("accessKeyID", "A"), ("secretAccessKey", "S")]);
        let error = Bucket::find(&Address { s3_ca: true, ..address() }, &paths, FIELD).unwrap_err().to_string();
        assert!(error.contains("s3.caSecretName does not exist, or holds nothing under the key ca.crt"), "{error}");
    }

    #[test]
    fn credentials_are_in_the_environment_of_restic_and_in_no_argument() {
        let (_root, paths) = with(&[("accessKeyID", "Access-1"), ("secretAccessKey", "Secret-1")]);
        let bucket = Bucket::find(&address(), &paths, FIELD).unwrap().unwrap();
        let mut restic = Command::new("restic");
        bucket.tell(&mut restic);
        let arguments: Vec<_> = restic.get_args().collect();
        assert_eq!(arguments, ["-o", "s3.bucket-lookup=path", "-o", "s3.retries=2"]);
        assert!(restic.get_envs().any(|(name, value)| name == "AWS_SECRET_ACCESS_KEY" && value.is_some_and(|value| value == "Secret-1")));
        assert!(!format!("{bucket:?}").contains("Secret-1"));
        assert_eq!(bucket.without_secrets("key Secret-1 of Access-1"), "key [secret] of Access-1");
        assert!(Bucket::find(&Address::default(), &paths, FIELD).unwrap().is_none(), "on a volume");
    }
}
