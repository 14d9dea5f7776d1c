//! A proxy between an operator and the API server. It speaks TLS to both, hands on everything, watches included, and does to each
//! write what the [`Gate`] says. The operator knows nothing of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::gate::{Fate, Gate, Refusal};
use crate::rig::Rig;
use crate::site::Outcome;

type Body = BoxBody<Bytes, hyper::Error>;

/// A proxy that listens. Dropped, it cuts every connection.
pub struct Proxy {
    /// What decides about writes.
    pub gate: Gate,
    address: SocketAddr,
    listening: JoinHandle<()>,
}

/// The two ends of the proxies of a rig.
#[derive(Clone)]
pub struct Ends {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    server: String,
}

/// What a connection has.
struct Connection {
    gate: Gate,
    generation: u64,
    upstream: Mutex<SendRequest<Body>>,
}

impl Ends {
    /// With the rig's own certificate: who trusts its API server trusts the proxy.
    ///
    /// # Errors
    /// When the rig's certificates can't be read.
    pub fn of(rig: &Rig) -> Outcome<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let path = |name: &str| rig.keys().path(name);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(path("ca.crt"))?)?;
        let to = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let to = to.with_root_certificates(roots).with_no_client_auth();
        let certificate = CertificateDer::from_pem_file(path("apiserver.crt"))?;
        let key = PrivateKeyDer::from_pem_file(path("apiserver.key"))?;
        let from = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let from = from.with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let server = rig.server().trim_start_matches("https://").to_owned();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(from)), connector: TlsConnector::from(Arc::new(to)), server })
    }
}

impl Proxy {
    /// Listens at a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(ends: Ends) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, gate) = (listener.local_addr()?, Gate::open());
        let listening = tokio::spawn(listen(listener, ends, gate.clone()));
        Ok(Self { gate, address, listening })
    }

    /// Its address, as a kubeconfig names it.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, ends: Ends, gate: Gate) {
    // Dropped with this task, and then all of its connections end.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let (ends, gate) = (ends.clone(), gate.clone());
                // A connection that breaks is the business of its ends.
                connections.spawn(async move { drop(serve(stream, ends, gate).await) });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection of the operator is one connection to the API server.
async fn serve(stream: TcpStream, ends: Ends, gate: Gate) -> io::Result<()> {
    let generation = gate.generation();
    stream.set_nodelay(true)?;
    let stream = ends.acceptor.accept(stream).await?;
    let further = TcpStream::connect(&ends.server).await?;
    further.set_nodelay(true)?;
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let further = ends.connector.connect(name, further).await?;
    let (sender, upstream) = hyper::client::conn::http1::handshake(TokioIo::new(further)).await.map_err(io::Error::other)?;
    let connection = Arc::new(Connection { gate, generation, upstream: Mutex::new(sender) });
    let answer = service_fn(move |request| {
        let connection = connection.clone();
        async move { connection.answer(request).await }
    });
    let downstream = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // When one end is gone, so is the other.
    tokio::select! {
        ended = downstream => ended,
        ended = upstream => ended,
    }
    .map_err(io::Error::other)
}

/// Does the request change what this test is about? Leases are renewed by the clock, and their faults are those of the election.
/// Events tell what has happened: none decides anything, and repeats are counted by time.
fn is_write(request: &Request<Incoming>) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let path = request.uri().path();
    changes && !path.contains("/leases") && !path.contains("/events")
}

/// Method and path, without what differs from run to run: `POST secrets/play-admin` where the body names the object.
fn describe(method: &Method, path: &str, body: &[u8]) -> String {
    let object = path.split_once("/namespaces/").map_or(path, |(_, rest)| rest.split_once('/').map_or(rest, |(_, object)| object));
    let name = (*method == Method::POST)
        .then(|| serde_json::from_slice::<serde_json::Value>(body).ok()?.pointer("/metadata/name")?.as_str().map(str::to_owned))
        .flatten();
    match name {
        Some(name) => format!("{method} {object}/{name}"),
        None => format!("{method} {object}"),
    }
}

impl Connection {
    /// Hands on what only reads at once, and a write when its turn has come.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        if !is_write(&request) {
            return self.forward(request.map(BodyExt::boxed)).await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let what = describe(&head.method, head.uri.path(), &body);
        let granted = self.gate.pass(what, self.generation).await.ok_or_else(|| io::Error::other("the sender is dead"))?;
        let request = Request::from_parts(head, whole(body));
        match granted.fate.clone() {
            Fate::Pass => whole_answer(self.forward(request).await?).await,
            Fate::Refuse(refusal) => refused(&refusal),
            Fate::KillBefore => self.killed().await,
            Fate::KillAfter => {
                whole_answer(self.forward(request).await?).await?;
                self.killed().await
            }
            Fate::LoseReply => {
                whole_answer(self.forward(request).await?).await?;
                Err(io::Error::other("the answer is lost"))
            }
        }
    }

    async fn forward(&self, request: Request<Body>) -> io::Result<Response<Body>> {
        let mut upstream = self.upstream.lock().await;
        upstream.ready().await.map_err(io::Error::other)?;
        let response = upstream.send_request(request).await.map_err(io::Error::other)?;
        Ok(response.map(BodyExt::boxed))
    }

    /// Has the sender killed; its end of the connection goes with it, and this one with that.
    async fn killed(&self) -> io::Result<Response<Body>> {
        self.gate.strike();
        std::future::pending().await
    }
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}

/// Waits for all of an answer: then the write is over.
async fn whole_answer(response: Response<Body>) -> io::Result<Response<Body>> {
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, whole(body.collect().await.map_err(io::Error::other)?.to_bytes())))
}

fn refused(refusal: &Refusal) -> io::Result<Response<Body>> {
    let Refusal { code, reason, retry_after } = refusal;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": format!("the test says {reason}"),
    });
    let mut response = Response::builder().status(*code).header("Content-Type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("Retry-After", seconds.to_string());
    }
    response.body(whole(status.to_string().into())).map_err(io::Error::other)
}
