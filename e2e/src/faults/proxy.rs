//! A proxy between an operator and the API server. It speaks TLS to both, hands on everything, watches included, and does to each
//! write what the [`Gate`] says, and to each request what the [`Weather`] has fall on it. The operator knows nothing of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::gate::{Fate, Gate, Refusal};
use super::stream::{Course, bent};
use super::weather::{Answer, Asked, Fall, Touch, Weather};
use crate::rig::Rig;
use crate::site::Outcome;

/// Why a body ends before it is whole.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or of an answer.
pub type Body = BoxBody<Bytes, Broken>;

/// A proxy that listens. Dropped, it cuts every connection.
pub struct Proxy {
    /// What decides about writes.
    pub gate: Gate,
    /// What befalls everything, before that.
    pub weather: Weather,
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
    weather: Weather,
    generation: u64,
    /// A request on it is never answered: then it lasts although the API server has closed its end long since.
    silent: AtomicBool,
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
        let (address, gate, weather) = (listener.local_addr()?, Gate::open(), Weather::fair());
        let listening = tokio::spawn(listen(listener, ends, gate.clone(), weather.clone()));
        Ok(Self { gate, weather, address, listening })
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

async fn listen(listener: TcpListener, ends: Ends, gate: Gate, weather: Weather) {
    // Dropped with this task, and then all of its connections end.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let (ends, gate, weather) = (ends.clone(), gate.clone(), weather.clone());
                // A connection that breaks is the business of its ends.
                connections.spawn(async move { drop(serve(stream, ends, gate, weather).await) });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection of the operator is one connection to the API server.
async fn serve(stream: TcpStream, ends: Ends, gate: Gate, weather: Weather) -> io::Result<()> {
    let generation = gate.generation();
    stream.set_nodelay(true)?;
    let stream = ends.acceptor.accept(stream).await?;
    let further = TcpStream::connect(&ends.server).await?;
    further.set_nodelay(true)?;
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let further = ends.connector.connect(name, further).await?;
    let (sender, upstream) = hyper::client::conn::http1::handshake(TokioIo::new(further)).await.map_err(io::Error::other)?;
    let connection = Arc::new(Connection { gate, weather, generation, silent: AtomicBool::new(false), upstream: Mutex::new(sender) });
    let answer = service_fn(|request| {
        let connection = connection.clone();
        async move { connection.answer(request).await }
    });
    let mut downstream = std::pin::pin!(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    // When one end is gone, so is the other.
    tokio::select! {
        ended = &mut downstream => ended,
        ended = upstream => if connection.silent.load(Ordering::Relaxed) { downstream.await } else { ended },
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
        Some(name) => format!("{method} {object}/{}", stable(&name)),
        None => format!("{method} {}", stable(object)),
    }
}

/// A name without the digits of a request's uid that end it: `play-asked-…`.
fn stable(name: &str) -> String {
    let digits = |end: &str| [8, 12].contains(&end.len()) && end.chars().all(|c| c.is_ascii_hexdigit());
    match name.rsplit_once('-') {
        Some((step, end)) if digits(end) && ["-asked", "-test", "-remove", "-restore", "-before"].iter().any(|of| step.ends_with(of)) => {
            format!("{step}-…")
        }
        _ => name.to_owned(),
    }
}

impl Connection {
    /// Does to a request what the weather has fall on it.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let asked = Asked::of(&request);
        match self.weather.befalls(&asked) {
            Fall::Slow(time) => {
                tokio::time::sleep(time).await;
                self.let_in(request, &asked).await
            }
            Fall::Late(time) => {
                let answer = whole_answer(self.let_in(request, &asked).await?).await?;
                tokio::time::sleep(time).await;
                Ok(answer)
            }
            Fall::Silence => {
                self.silent.store(true, Ordering::Relaxed);
                std::future::pending().await
            }
            Fall::Cut => Err(io::Error::other("the connection is cut")),
            Fall::Lost => {
                whole_answer(self.let_in(request, &asked).await?).await?;
                Err(io::Error::other("the answer is lost"))
            }
            Fall::Say(answer) => said(answer),
            Fall::Paged(limit) => self.forward(paged(request, limit)?.map(open)).await,
            Fall::Bent(bend) if asked.is_watch() => self.watch(request, Course::of(&bend)).await,
            Fall::Pass | Fall::Bent(_) => self.let_in(request, &asked).await,
            Fall::Touched(there, back) => self.touched(request, &asked, &there, back).await,
        }
    }

    /// Hands on what only reads at once, and a write when its turn has come.
    async fn let_in(&self, request: Request<Incoming>, asked: &Asked) -> io::Result<Response<Body>> {
        if asked.is_watch() {
            return self.watch(request, Course::default()).await;
        }
        if !is_write(&request) {
            return self.forward(request.map(open)).await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let what = describe(&head.method, head.uri.path(), &body);
        let granted = self.gate.pass(what, self.generation).await.ok_or_else(|| io::Error::other("the sender is dead"))?;
        let request = Request::from_parts(head, whole(body));
        match granted.fate.clone() {
            Fate::Pass => whole_answer(self.forward(request).await?).await,
            Fate::Refuse(Refusal { code, reason, retry_after }) => {
                said(Answer { retry_after, ..Answer::refusal(code, reason, &format!("the test says {reason}")) })
            }
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

    /// Hands on what a watch tells, as long as it is not cut.
    async fn watch(&self, request: Request<Incoming>, course: Course) -> io::Result<Response<Body>> {
        let cuts = self.weather.cuts();
        let answer = self.send(request.map(open)).await?;
        Ok(answer.map(|body| bent(body, course, cuts)))
    }

    /// Changes what is sent and what is answered.
    async fn touched(&self, request: Request<Incoming>, asked: &Asked, there: &Touch, back: Touch) -> io::Result<Response<Body>> {
        if asked.is_watch() {
            return self.watch(request, Course::touched(back)).await;
        }
        let (head, body) = request.into_parts();
        let body = changed(body.collect().await.map_err(io::Error::other)?.to_bytes(), there);
        let mut request = Request::from_parts(head, whole(body.clone()));
        request.headers_mut().insert(hyper::header::CONTENT_LENGTH, body.len().into());
        let (mut head, body) = self.send(request).await?.into_parts();
        let body = changed(body.collect().await.map_err(io::Error::other)?.to_bytes(), &back);
        head.headers.remove(hyper::header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, whole(body)))
    }

    async fn send(&self, request: Request<Body>) -> io::Result<Response<Incoming>> {
        let mut upstream = self.upstream.lock().await;
        upstream.ready().await.map_err(io::Error::other)?;
        upstream.send_request(request).await.map_err(io::Error::other)
    }

    async fn forward(&self, request: Request<Body>) -> io::Result<Response<Body>> {
        Ok(self.send(request).await?.map(open))
    }

    /// Has the sender killed; its end of the connection goes with it, and this one with that.
    async fn killed(&self) -> io::Result<Response<Body>> {
        self.gate.strike();
        std::future::pending().await
    }
}

fn open(body: Incoming) -> Body {
    body.map_err(Into::into).boxed()
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}

/// Waits for all of an answer: then the write is over.
async fn whole_answer(response: Response<Body>) -> io::Result<Response<Body>> {
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, whole(body.collect().await.map_err(io::Error::other)?.to_bytes())))
}

/// The object of a body, changed; what is none stays as it is.
fn changed(body: Bytes, touch: &Touch) -> Bytes {
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut object) => {
            touch(&mut object);
            object.to_string().into()
        }
        Err(_) => body,
    }
}

/// The same list with so many objects a page.
fn paged<B>(request: Request<B>, limit: u32) -> io::Result<Request<B>> {
    let (mut head, body) = request.into_parts();
    let asked = head.uri.query().unwrap_or_default().split('&').filter(|part| !part.starts_with("limit="));
    let query: Vec<&str> = asked.filter(|part| !part.is_empty()).collect();
    let uri = format!("{}?{}&limit={limit}", head.uri.path(), query.join("&"));
    head.uri = uri.parse().map_err(io::Error::other)?;
    Ok(Request::from_parts(head, body))
}

fn said(answer: Answer) -> io::Result<Response<Body>> {
    let mut response = Response::builder().status(answer.code).header("Content-Type", answer.media);
    if let Some(seconds) = answer.retry_after {
        response = response.header("Retry-After", seconds.to_string());
    }
    response.body(whole(answer.body)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_the_same_name_in_every_run() {
        for (name, known) in [
            ("jobs/play-asked-0123456789ab", "jobs/play-asked-…"),
            ("jobs/play-remove-0123456789ab", "jobs/play-remove-…"),
            ("jobs/play-restore-01234567", "jobs/play-restore-…"),
            ("jobs/play-before-upgrade-2", "jobs/play-before-upgrade-2"),
            ("jobs/play-backup-first", "jobs/play-backup-first"),
        ] {
            assert_eq!(describe(&Method::DELETE, &format!("/apis/batch/v1/namespaces/ns/{name}"), b""), format!("DELETE {known}"));
        }
        let body = br#"{"metadata": {"name": "play-test-0123456789ab"}}"#;
        assert_eq!(describe(&Method::POST, "/apis/batch/v1/namespaces/ns/jobs", body), "POST jobs/play-test-…");
    }
}
