//! A node whose clock is wrong, as far as a server sees it. The clock of a program can't be set: what it asks is signed anew with another
//! time, and the answer of the real server handed on as it is.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Pod;
use super::bucket::{PORT, Server};
use super::signed::{self, Request};

/// Takes the requests, as long as the test runs.
pub struct Clock {
    arguments: Vec<String>,
}

impl Clock {
    /// One that is off by so many minutes, beside this server.
    pub fn off(server: &Server, pod: &Pod, minutes: i64) -> Self {
        let near = TcpListener::bind((pod.address.as_str(), 0)).unwrap();
        let arguments = server.arguments_at(near.local_addr().unwrap().port());
        let (configuration, authority) = (configuration(server), server.authority());
        let far = format!("https://{}:{PORT}", pod.address);
        std::thread::spawn(move || {
            for near in near.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&configuration)).unwrap();
                let mut near = StreamOwned::new(connection, near);
                let Some((method, target)) = asked(&mut near) else { continue };
                let time = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
                let request = Request { method: &method, time: Some(time), ..Request::default() };
                let answer = signed::ask(&format!("{far}{target}"), &authority, &request);
                // Whoever has gone away meanwhile wants no answer.
                let _ = near.write_all(&answer.0);
                near.conn.send_close_notify();
                let _ = near.flush();
            }
        });
        Self { arguments }
    }

    /// What the agent is told of the bucket.
    pub fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }
}

fn configuration(server: &Server) -> Arc<ServerConfig> {
    let [certificate, key] = server.identity().map(|path: PathBuf| fs::read(path).unwrap());
    let certificate = CertificateDer::from_pem_slice(&certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

/// Method and target of a request that has no body.
fn asked(from: &mut impl Read) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.split(' ').map(str::to_owned);
    Some((words.next()?, words.next()?))
}
