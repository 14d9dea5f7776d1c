//! Requests to an S3 server as curl signs them.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::bucket::{ACCESS_KEY, SECRET_KEY};

/// A request.
#[derive(Debug, Default)]
pub struct Request<'a> {
    pub method: &'a str,
    /// One more of its headers.
    pub header: Option<&'a str>,
    pub body: &'a str,
    /// When it was sent, as far as its signature tells.
    pub time: Option<jiff::Timestamp>,
}

/// What was answered, as it was.
pub struct Answer(pub Vec<u8>);

impl Answer {
    /// Was it done?
    pub fn is_done(&self) -> bool {
        self.0.starts_with(b"HTTP/1.1 20")
    }

    /// It was.
    pub fn done(self) -> String {
        let text = String::from_utf8_lossy(&self.0).into_owned();
        assert!(self.is_done(), "{text}");
        text
    }
}

/// What is answered to a request that is signed with the key of whom the server belongs to.
pub fn ask(url: &str, authority: &Path, request: &Request<'_>) -> Answer {
    let Request { method, header, body, time } = request;
    let digest = Sha256::digest(body.as_bytes());
    let hexadecimal = digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--include", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")]);
    curl.arg("--cacert").arg(authority).args(["--header", &format!("x-amz-content-sha256: {hexadecimal}")]);
    curl.args(header.iter().flat_map(|header| ["--header", header]));
    if let Some(time) = time {
        curl.args(["--header", &format!("X-Amz-Date: {}", time.strftime("%Y%m%dT%H%M%SZ"))]);
    }
    match *method {
        "HEAD" => _ = curl.arg("--head"),
        method => _ = curl.args(["--request", method]),
    }
    if !body.is_empty() {
        curl.args(["--data-binary", body, "--header", &format!("x-amz-checksum-sha256: {}", STANDARD.encode(digest))]);
    }
    let output = curl.arg(url).output().unwrap();
    assert!(output.status.success(), "{url}: {}", output.status);
    Answer(output.stdout)
}
