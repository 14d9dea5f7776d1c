//! A stand-in of one test: laid out as its image is, run as the image's user, asked over HTTP.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use dhis2_e2e::standin::image::{self, USER};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use crate::postgresql::{Database, eventually, free_port, postgresql};

pub const OLD: &str = "2.41.8.1";
pub const MIDDLE: &str = "2.42.4.1";
pub const NEW: &str = "2.43.1.0";

/// What a stand-in is started with.
pub struct Setup {
    pub version: &'static str,
    pub home: TempDir,
    env: Vec<(String, String)>,
}

pub struct Standin {
    pub port: u16,
    pub home: PathBuf,
    child: Child,
    _setup: TempDir,
}

/// Status, `Location` or nothing, body.
pub struct Answer {
    pub status: u16,
    pub location: String,
    pub cookie: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub fn text(&self, pointer: &str) -> String {
        self.json().pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {}", self.body)).to_owned()
    }
}

/// The image's content, once for each version.
fn root(version: &'static str) -> &'static Path {
    static ROOTS: [OnceLock<PathBuf>; 3] = [const { OnceLock::new() }; 3];
    let at = [OLD, MIDDLE, NEW].iter().position(|known| *known == version).unwrap();
    ROOTS[at].get_or_init(|| {
        let root = postgresql().folder.join(version);
        fs::create_dir_all(&root).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_dhis2-standin"));
        image::lay_out(version.parse().unwrap(), program, &root).unwrap();
        root
    })
}

pub fn own(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
}

impl Setup {
    pub fn new(version: &'static str, conf: &str) -> Self {
        let home = tempfile::Builder::new().prefix("standin-home").tempdir().unwrap();
        own(home.path());
        fs::write(home.path().join("dhis.conf"), conf).unwrap();
        Self { version, home, env: Vec::new() }
            .env("DB_PASSWORD", "secret")
            .env("CATALINA_OPTS", "-Dcontext.path=''")
            .env("STANDIN_HEAP_BASE_MB", "20")
            .seconds(&[("PORT", 0.1), ("START", 0.5), ("MIGRATE", 0.2), ("FAIL", 0.5), ("STOP", 0.1), ("CUT", 1.0)])
            .seconds(&[("ANALYTICS_WAIT", 0.3), ("ANALYTICS", 0.3)])
    }

    pub fn of(version: &'static str, database: &Database) -> Self {
        Self::new(version, &database.conf())
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn seconds(self, seconds: &[(&str, f64)]) -> Self {
        seconds.iter().fold(self, |setup, (name, value)| setup.env(&format!("STANDIN_{name}_SECONDS"), &value.to_string()))
    }

    pub fn start(self) -> Standin {
        let tomcat = root(self.version).join("usr/local/tomcat");
        let port = free_port();
        let log = File::create(self.home.path().with_extension("log")).unwrap();
        let child = Command::new(tomcat.join("bin/catalina.sh"))
            .arg("run")
            .env_clear()
            .env("CATALINA_HOME", &tomcat)
            .env("DHIS2_HOME", self.home.path())
            .env("STANDIN_PORT", port.to_string())
            .envs(self.env)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .uid(USER)
            .gid(USER)
            .spawn()
            .unwrap();
        Standin { port, home: self.home.path().to_owned(), child, _setup: self.home }
    }

    /// Starts and waits until ping is 200.
    pub fn serve(self) -> Standin {
        self.serve_at("")
    }

    /// The same, below a context path.
    pub fn serve_at(self, context_path: &str) -> Standin {
        let standin = self.start();
        assert_eq!(standin.ping_at(context_path), 200, "{}", standin.log());
        standin
    }
}

impl Standin {
    /// Waits for the port, then for ping's answer, however long that takes.
    pub fn ping(&self) -> u16 {
        self.ping_at("")
    }

    fn ping_at(&self, context_path: &str) -> u16 {
        eventually("the port opens", || self.try_get(&format!("{context_path}/api/ping")).ok()).status
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.with_extension("log")).unwrap()
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{}{path}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        agent().run(request.body(body.into()).unwrap()).map(answer)
    }

    fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        self.send("GET", path, &[], "")
    }

    /// Without login.
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap()
    }

    /// With a login, `user:password`.
    pub fn get_as(&self, login: &str, path: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &basic(login))], "").unwrap()
    }

    pub fn status_as(&self, login: &str, path: &str) -> u16 {
        self.get_as(login, path).status
    }

    pub fn send_as(&self, login: &str, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Authorization", &*basic(login)), ("Content-Type", "application/json")];
        self.send(method, path, &headers, body.to_string()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Resident memory, in MiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.home.with_extension("log"));
    }
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(Duration::from_secs(20))).build().into()
}

fn answer(mut response: Response<Body>) -> Answer {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    Answer {
        status: response.status().as_u16(),
        location: header("location"),
        cookie: header("set-cookie").split(';').next().unwrap_or_default().to_owned(),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

pub fn basic(login: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(login))
}
