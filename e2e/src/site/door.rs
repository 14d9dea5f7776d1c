//! An instance as its users reach it: by its host name, through the Ingress.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::request::Builder;
use ureq::http::{Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, RequestExt as _};

use super::{Outcome, Site, wait};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Account {
    /// An account.
    pub fn new(username: &str, password: &str) -> Self {
        Self { username: username.to_owned(), password: password.to_owned() }
    }

    /// The account that every new DHIS2 has.
    pub fn default_one() -> Self {
        Self::new("admin", "district")
    }

    /// As the header `Authorization` has it.
    pub fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// Plain or encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Encrypted.
    Https,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where it sends us, as a path.
    pub location: Option<String>,
    /// The type of the body.
    pub kind: String,
    /// The body.
    pub body: String,
}

/// The door of an instance.
#[derive(Clone, Debug)]
pub struct Door {
    host: String,
    plain: (Agent, SocketAddr),
    encrypted: (Agent, SocketAddr),
}

/// The ingress controller's address, whatever the name: it is not in any DNS.
#[derive(Clone, Debug)]
struct At(SocketAddr);

impl Resolver for At {
    fn resolve(&self, _: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

impl Door {
    /// The door of this host. Any certificate will do.
    pub fn new(site: &Site, host: &str) -> Self {
        Self::with(site.ingress, host, TlsConfig::builder().disable_verification(true).build())
    }

    /// The door of this host, whose certificate must be this one or signed by it.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn trusting(site: &Site, host: &str, certificate: &str) -> Outcome<Self> {
        let root = Certificate::from_pem(certificate.as_bytes())?;
        Ok(Self::with(site.ingress, host, TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build()))
    }

    /// Of a DHIS2 that answers at this address itself, plain.
    pub fn at(address: SocketAddr) -> Self {
        Self::with([address; 2], &address.ip().to_string(), TlsConfig::default())
    }

    fn with(addresses: [SocketAddr; 2], host: &str, tls: TlsConfig) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(20)))
            .tls_config(tls)
            .build();
        let agent = |address| (Agent::with_parts(config.clone(), DefaultConnector::default(), At(address)), address);
        let [plain, encrypted] = addresses.map(agent);
        Self { host: host.to_owned(), plain, encrypted }
    }

    /// Asks for a path. Blocks.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn get(&self, scheme: Scheme, path: &str, account: Option<&Account>) -> Result<Answer, ureq::Error> {
        self.send("GET", scheme, path, account, None)
    }

    /// Sends JSON. Blocks.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn send(
        &self,
        verb: &str,
        scheme: Scheme,
        path: &str,
        account: Option<&Account>,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, ureq::Error> {
        let (agent, request) = self.request(verb, scheme, path, account);
        let response = match body {
            None => request.body(()).map(|request| request.with_agent(agent).run()),
            Some(body) => {
                let typed = request.header(header::CONTENT_TYPE, "application/json");
                typed.body(body.to_string()).map(|request| request.with_agent(agent).run())
            }
        }??;
        Ok(answer(response))
    }

    fn request(&self, verb: &str, scheme: Scheme, path: &str, account: Option<&Account>) -> (&Agent, Builder) {
        let ((agent, address), name) = match scheme {
            Scheme::Http => (&self.plain, "http"),
            Scheme::Https => (&self.encrypted, "https"),
        };
        let uri = format!("{name}://{}:{}{path}", self.host, address.port());
        let request = ureq::http::Request::builder().method(verb).uri(uri);
        let request = match account {
            Some(account) => request.header(header::AUTHORIZATION, account.basic()),
            None => request,
        };
        (agent, request)
    }

    /// Uploads a file as a browser's form does. Blocks.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn upload(
        &self,
        scheme: Scheme,
        path: &str,
        account: &Account,
        name: &str,
        kind: &str,
        file: &[u8],
    ) -> Result<Answer, ureq::Error> {
        const BORDER: &str = "part-of-the-story";
        let head =
            format!("--{BORDER}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n");
        let body = [head.as_bytes(), file, format!("\r\n--{BORDER}--\r\n").as_bytes()].concat();
        let (agent, request) = self.request("POST", scheme, path, Some(account));
        let typed = request.header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BORDER}"));
        Ok(answer(typed.body(body)?.with_agent(agent).run()?))
    }

    /// Asks for a file. Blocks.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn bytes(&self, scheme: Scheme, path: &str, account: &Account) -> Result<Vec<u8>, ureq::Error> {
        let (agent, request) = self.request("GET", scheme, path, Some(account));
        request.body(())?.with_agent(agent).run()?.into_body().read_to_vec()
    }

    /// Whether the account is let in; what came back, when that is neither yes nor no.
    pub async fn lets_in(&self, scheme: Scheme, account: &Account) -> Result<bool, String> {
        let (door, account) = (self.clone(), account.clone());
        let asked = tokio::task::spawn_blocking(move || door.get(scheme, "/api/me", Some(&account))).await;
        match asked {
            Ok(Ok(Answer { status: 200, .. })) => Ok(true),
            Ok(Ok(Answer { status: 401, .. })) => Ok(false),
            Ok(Ok(other)) => Err(format!("{}: {}", other.status, other.body.chars().take(200).collect::<String>())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The login page, found as a browser finds it: along the redirects from `/`.
    ///
    /// # Errors
    /// When there is none.
    pub fn login_page(&self, scheme: Scheme) -> Result<Answer, String> {
        let mut path = "/".to_owned();
        for _ in 0..6 {
            let answer = self.get(scheme, &path, None).map_err(|error| format!("{path}: {error}"))?;
            match (answer.status, answer.location.clone()) {
                (200, _) if answer.kind.starts_with("text/html") => return Ok(answer),
                (301 | 302 | 303 | 307 | 308, Some(next)) => path = next,
                (status, _) => {
                    return Err(format!("{path}: {status} {}: {}", answer.kind, answer.body.chars().take(200).collect::<String>()));
                }
            }
        }
        Err(format!("redirects without end, at last to {path}"))
    }

    /// Waits for the login page: the ingress controller takes an Ingress in a moment after it was made.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn opens(&self, scheme: Scheme, limit: Duration) -> Outcome<Answer> {
        let ask = async || {
            let door = self.clone();
            let asked = tokio::task::spawn_blocking(move || door.login_page(scheme)).await;
            asked.unwrap_or_else(|error| Err(error.to_string()))
        };
        Ok(wait::ask(&format!("the login page at {}", self.host), limit, ask).await?)
    }
}

/// The path of an address, with its query.
fn path_of(location: &str) -> String {
    match location.parse::<Uri>() {
        Ok(uri) => uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        Err(_) => location.to_owned(),
    }
}

fn answer(response: ureq::http::Response<Body>) -> Answer {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (location, kind) = (header(header::LOCATION), header(header::CONTENT_TYPE).unwrap_or_default());
    let location = location.map(|location| path_of(&location));
    let status = response.status().as_u16();
    let body = response.into_body().read_to_string().unwrap_or_default();
    Answer { status, location, kind, body }
}
