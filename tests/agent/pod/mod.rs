//! A directory that stands for the pods of one instance, and the agent run in it as those pods would: another user, no privileges.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use dhis2_operator::layout;
use dhis2_operator::report::{Refusal, Report};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use postgres::{Client, NoTls};

/// Where Debian's packages put PostgreSQL's programs.
const POSTGRESQL: &str = "/usr/lib/postgresql";
/// The user that the programs run as when the tests run as root.
const NOBODY: u32 = 65534;

pub mod bucket;
pub mod clock;
pub mod line;
pub mod remote;
pub mod sets;
pub mod signed;
pub mod source;

pub const OWNER_PASSWORD: &str = "Owner-Secret-1234";
pub const BACKUP_PASSWORD: &str = "Backup-Secret-1234";
pub const ENCRYPTION: &str = "Encryption-Secret-123456789";
pub const REPOSITORY_PASSWORD: &str = "Repository-Secret-1234";
pub const GENERATED: &str = "Generated-Secret-1234";

/// The pods of one instance.
pub struct Pod {
    root: tempfile::TempDir,
    /// Address of its database: every pod has one of its own, and the usual port.
    pub address: String,
}

/// How a verb ended.
pub struct Ended {
    pub code: Option<i32>,
    pub report: Option<Report>,
    pub log: String,
}

impl Ended {
    pub fn done(self) -> Report {
        assert_eq!(self.code, Some(0), "{}", self.log);
        self.report.expect("a verb that is done reports")
    }

    pub fn refused(self) -> Refusal {
        assert_eq!(self.code, Some(2), "{}", self.log);
        self.report.and_then(|report| report.reason).expect("a refusal has a reason")
    }

    pub fn failed(self) -> Report {
        assert_eq!(self.code, Some(1), "{}", self.log);
        self.report.expect("a verb that failed reports")
    }
}

impl Pod {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (number, pid) = (NUMBER.fetch_add(1, Ordering::Relaxed), std::process::id());
        let address = format!("127.{}.{}.{}", 64 + (pid / 256 + number / 254) % 64, pid % 256, 1 + number % 254);
        let pod = Self { root: tempfile::tempdir().unwrap(), address };
        for directory in [
            "data",
            "agent",
            "tmp",
            "backups",
            "scratch",
            "opt/dhis2/files",
            "var/run/postgresql",
            "etc/dhis2-database",
            "etc/dhis2-instance",
        ] {
            fs::create_dir_all(pod.root.path().join(directory)).unwrap();
        }
        fs::create_dir_all(pod.path(layout::DHIS2_LIBRARIES)).unwrap();
        pod.secrets();
        pod.image("2.42.4.1");
        pod.write(layout::RESOURCE, r#"{"kind":"Dhis2Instance"}"#);
        pod.configure("");
        pod.write(layout::PG_HBA_CONF, "local all all trust\nhost all all all scram-sha-256\n");
        pod.install(Path::new(env!("CARGO_BIN_EXE_dhis2-agent")), layout::AGENT);
        pod.give_away();
        pod
    }

    /// Copies a program, in a process of its own: while this one has the file open for writing, a child that another test begins would
    /// have it open as well for a moment, and the program could not be run ("text file busy").
    pub fn install(&self, program: &Path, place: &str) {
        let copied = Command::new("cp").arg(program).arg(self.path(place)).status().unwrap();
        assert!(copied.success(), "cp {}", program.display());
    }

    fn secrets(&self) {
        for (place, value) in [
            (layout::DATABASE_USERNAME, layout::OWNER_ROLE),
            (layout::DATABASE_PASSWORD, OWNER_PASSWORD),
            (layout::DATABASE_BACKUP_PASSWORD, BACKUP_PASSWORD),
            (layout::ENCRYPTION_PASSWORD, ENCRYPTION),
            (layout::ADMIN_USERNAME, "admin"),
            (layout::ADMIN_PASSWORD, GENERATED),
            (layout::BACKUP_PASSWORD, REPOSITORY_PASSWORD),
        ] {
            self.write(place, value);
        }
    }

    /// Makes the image hold a version of DHIS2.
    pub fn image(&self, version: &str) {
        let libraries = self.path(layout::DHIS2_LIBRARIES);
        fs::remove_dir_all(&libraries).unwrap();
        fs::create_dir_all(&libraries).unwrap();
        fs::write(libraries.join(format!("dhis-api-{version}.jar")), "").unwrap();
    }

    /// Writes PostgreSQL's configuration.
    pub fn configure(&self, more: &str) {
        let text = format!("listen_addresses = '{}'\nmax_locks_per_transaction = 128\n{more}\n", self.address);
        self.write(layout::POSTGRESQL_CONF, &text);
    }

    pub fn path(&self, place: &str) -> PathBuf {
        self.root.path().join(place.trim_start_matches('/'))
    }

    pub fn write(&self, place: &str, text: &str) {
        let path = self.path(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        own(path.parent().unwrap());
        own(&path);
    }

    pub fn read(&self, place: &str) -> String {
        fs::read_to_string(self.path(place)).unwrap()
    }

    fn give_away(&self) {
        for path in walk(self.root.path()) {
            own(&path);
        }
    }

    /// A program as the pod's user.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env("TMPDIR", self.path("/tmp")).env("HOME", self.path("/tmp")).current_dir("/");
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&self.path(layout::AGENT));
        command.arg("--root").arg(self.root.path()).arg("--report").arg(self.path("/tmp/report")).args(arguments);
        command
    }

    /// Runs a verb to its end.
    pub fn agent(&self, arguments: &[&str]) -> Ended {
        let _ = fs::remove_file(self.path("/tmp/report"));
        let output = self.command(arguments).output().expect("start the agent with setpriv (Debian package util-linux)");
        self.ended(&output)
    }

    /// What a verb prints that comes to its good end.
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        self.ended(&output).done();
        String::from_utf8(output.stdout).unwrap()
    }

    fn ended(&self, output: &Output) -> Ended {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = fs::read_to_string(self.path("/tmp/report")).unwrap_or_default();
        for secret in [OWNER_PASSWORD, BACKUP_PASSWORD, ENCRYPTION, REPOSITORY_PASSWORD, GENERATED, bucket::SECRET_KEY] {
            assert!(!log.contains(secret) && !report.contains(secret), "a secret was told: {log} {report}");
        }
        Ended { code: output.status.code(), report: Report::parse(&report), log }
    }

    /// Starts a verb in a process group of its own.
    pub fn start(&self, arguments: &[&str]) -> Running<'_> {
        let _ = fs::remove_file(self.path("/tmp/report"));
        let child = self.command(arguments).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { pod: self, child: Some(child) }
    }

    /// Makes the database volume.
    pub fn build(&self, more: &[&str]) -> Ended {
        let major = major().to_string();
        self.agent(&[&["database", "build", "--instance", "uid-1", "--name", "demo/play", "--postgresql", &major], more].concat())
    }

    /// PostgreSQL's processes have groups of their own, and end a moment after a server that was killed; those of a real pod end with it.
    pub fn is_left_by_all(&self) {
        await_that("nobody works on the volume any more", || !is_in_use(&self.path(layout::DATA)));
    }

    /// Serves the database until the value is dropped.
    pub fn serve(&self) -> Running<'_> {
        let running = self.start(&["database", "run", "--instance", "uid-1"]);
        await_that("the database answers", || self.agent(&["database", "check"]).code == Some(0));
        running
    }

    /// Connects as the superuser, over the socket.
    pub fn superuser(&self) -> Client {
        let (sockets, user) = (self.path(layout::SOCKETS), layout::SUPERUSER);
        Client::connect(&format!("host={} user={user} dbname={}", sockets.display(), layout::DATABASE), NoTls).unwrap()
    }

    /// Connects as the owner of the database.
    pub fn owner(&self) -> Client {
        self.connect().unwrap()
    }

    /// Likewise, if it is let in.
    pub fn connect(&self) -> Result<Client, postgres::Error> {
        let password = self.read(layout::DATABASE_PASSWORD);
        let text = format!("host={} user={} password={password} dbname={}", self.address, layout::OWNER_ROLE, layout::DATABASE);
        Client::connect(&text, NoTls)
    }
}

/// A verb that runs.
pub struct Running<'a> {
    pod: &'a Pod,
    child: Option<Child>,
}

impl Running<'_> {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.as_ref().unwrap().id()).unwrap())
    }

    /// As the loss of a node does.
    pub fn kill(mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let child = self.child.take().unwrap();
        // The output ends when the last program of the group has ended.
        child.wait_with_output().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end, and tells the most memory that it had itself, in KiB.
    pub fn watched(mut self) -> (Ended, u64) {
        let status = format!("/proc/{}/status", self.pid());
        let mut most = 0;
        while self.child.as_mut().unwrap().try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            most = most.max(peak.unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        (self.pod.ended(&output), most)
    }

    pub fn wait(mut self) -> Ended {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        self.pod.ended(&output)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// The newest PostgreSQL of this machine.
pub fn major() -> u32 {
    let entries = fs::read_dir(POSTGRESQL).into_iter().flatten().flatten();
    let majors =
        entries.filter(|entry| entry.path().join("bin/initdb").is_file()).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    majors.max().expect("PostgreSQL with PostGIS: apt-get install -y postgresql postgresql-15-postgis-3 (Debian 12)")
}

/// One of PostgreSQL's programs.
pub fn postgresql(program: &str) -> PathBuf {
    Path::new(POSTGRESQL).join(major().to_string()).join("bin").join(program)
}

/// restic, as it was built from src/agent/restic: named by `DHIS2_RESTIC`, or in the cache of built programs, or in the PATH.
pub fn restic() -> PathBuf {
    let named = std::env::var_os("DHIS2_RESTIC").map(PathBuf::from);
    named.or_else(|| built("restic")).expect("restic: build src/agent/restic (see its go.mod), name the program in DHIS2_RESTIC")
}

/// A program in the cache of built ones (make unit builds them), or in the PATH.
fn built(program: &str) -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("DHIS2_OPERATOR_CACHE").unwrap_or(format!("{home}/.cache/dhis2-operator"));
    let built = fs::read_dir(Path::new(&cache).join("bin")).into_iter().flatten().flatten().map(|entry| entry.path());
    let built = built.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(program)));
    let built = built.map(|path| if path.is_dir() { path.join(program) } else { path });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = built.chain(std::env::split_paths(&path).map(|directory| directory.join(program)));
    candidates.find(|path| path.is_file())
}

/// Does a process have its place in this directory?
fn is_in_use(directory: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cwd"));
    processes.filter_map(|place| fs::read_link(place).ok()).any(|place| place.starts_with(directory))
}

/// Waits for a condition, a minute at most.
/// What all tests that run at the same time share: made once, and gone with the last of them.
pub fn shared<T>(place: &Mutex<Weak<T>>, make: impl FnOnce() -> T) -> Arc<T> {
    let mut place = place.lock().unwrap();
    place.upgrade().unwrap_or_else(|| {
        let first = Arc::new(make());
        *place = Arc::downgrade(&first);
        first
    })
}

pub fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_mins(1), "waited a minute until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn own(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}
