//! A private `PostgreSQL` for the tests: started once, ended by a shell that notices when the tests are gone, however they end.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::User;
use postgres::{Client, NoTls};

pub struct PostgreSql {
    pub port: u16,
    /// Everything of this run; removed at its end.
    pub folder: PathBuf,
    programs: PathBuf,
    user: User,
    _watch: Child,
}

/// A database of one test, owned by a role that is no superuser.
pub struct Database {
    pub name: String,
}

const WATCH: &str = r#""$@" & read -r _; kill -INT $!; wait; rm -rf "$FOLDER""#;

pub fn postgresql() -> &'static PostgreSql {
    static ONE: OnceLock<PostgreSql> = OnceLock::new();
    ONE.get_or_init(PostgreSql::start)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl PostgreSql {
    fn start() -> Self {
        let mut programs: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .expect("install postgresql and its postgis package")
            .map(|entry| entry.unwrap().path().join("bin"))
            .filter(|bin| bin.join("initdb").exists())
            .collect();
        programs.sort();
        let programs = programs.pop().expect("no initdb below /usr/lib/postgresql");
        let user = User::from_name("postgres").unwrap().expect("a user postgres");
        let folder = tempfile::Builder::new().prefix("standin-postgresql").tempdir().unwrap().keep();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        let own = folder.join("postgresql");
        std::fs::create_dir(&own).unwrap();
        chown(&own, Some(uid), Some(gid)).unwrap();
        let initdb = Command::new(programs.join("initdb"))
            .uid(uid)
            .gid(gid)
            .current_dir(&own)
            .args(["--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(own.join("data"))
            .output()
            .unwrap();
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        let port = free_port();
        let watch = Command::new("/bin/sh")
            .env("FOLDER", &folder)
            .current_dir(&own)
            .args(["-c", WATCH, "sh", "setpriv", "--clear-groups"])
            .args([format!("--reuid={uid}"), format!("--regid={gid}")])
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(own.join("data"))
            .args(["-c", &format!("port={port}"), "-c", &format!("unix_socket_directories={}", own.display())])
            .args(["-c", "fsync=off", "-c", "max_locks_per_transaction=128", "-c", "max_connections=60"])
            .stdin(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let server = Self { port, folder, programs, user, _watch: watch };
        eventually("PostgreSQL answers", || server.try_admin("postgres").ok());
        let mut admin = server.admin("postgres");
        admin.batch_execute("create role dhis login password 'secret'").unwrap();
        admin.batch_execute("create database template_gis").unwrap();
        server.admin("template_gis").batch_execute("create extension postgis").unwrap();
        server
    }

    fn try_admin(&self, database: &str) -> Result<Client, postgres::Error> {
        let socket = self.folder.join("postgresql");
        let socket = socket.display();
        Client::connect(&format!("host={socket} port={} user=postgres dbname={database}", self.port), NoTls)
    }

    /// The superuser, by the local socket.
    pub fn admin(&self, database: &str) -> Client {
        self.try_admin(database).unwrap()
    }

    /// A new database, with `PostGIS` in it or not.
    pub fn database(&self, postgis: bool) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("dhis2_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let template = if postgis { "template_gis" } else { "template0" };
        self.admin("postgres").batch_execute(&format!("create database {name} owner dhis template {template}")).unwrap();
        Database { name }
    }

    /// Runs one of the server's programs as its superuser.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.uid(self.user.uid.as_raw()).gid(self.user.gid.as_raw()).current_dir(&self.folder);
        command.env("PGHOST", self.folder.join("postgresql")).env("PGPORT", self.port.to_string()).env("PGUSER", "postgres");
        command
    }
}

impl Database {
    pub fn admin(&self) -> Client {
        postgresql().admin(&self.name)
    }

    pub fn execute(&self, sql: &str) {
        self.admin().batch_execute(sql).unwrap();
    }

    pub fn text(&self, sql: &str) -> String {
        self.admin().query_one(sql, &[]).unwrap().get(0)
    }

    pub fn count(&self, table: &str) -> i64 {
        self.admin().query_one(&format!("select count(*) from {table}"), &[]).unwrap().get(0)
    }

    /// dhis.conf for it.
    pub fn conf(&self) -> String {
        format!(
            "connection.url = jdbc:postgresql://127.0.0.1:{}/{}\nconnection.username = dhis\nconnection.password = ${{DB_PASSWORD}}\n\
             encryption.password = a password of twenty-eight\n",
            postgresql().port,
            self.name
        )
    }
}

/// Asks again and again, for half a minute at most.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "waited 30 s in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
