//! PostgreSQL's settings for DHIS2, from the memory and the volume that it has.
//!
//! Sources: DHIS2's performance tuning guide (`jit`, locks), DHIS2's server tools (`work_mem`, 128 locks "required"), and what
//! a server of 2.42.4.1 was seen to need: its migration holds 3871 locks at once.

use std::collections::BTreeMap;

/// Connections beside DHIS2's pool: 3 that PostgreSQL reserves, the rest for backups, checks and people.
pub const SPARE_CONNECTIONS: i64 = 20;
/// The least `max_locks_per_transaction` that DHIS2 works with; its migrations fail with PostgreSQL's default of 64.
const LEAST_LOCKS: i64 = 128;

/// What the settings follow from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis<'a> {
    /// Memory of the server, in MiB.
    pub memory_mib: i64,
    /// Size of its volume, in MiB.
    pub volume_mib: i64,
    /// Connections that DHIS2 may open.
    pub pool: i64,
    /// Settings that the user asks for; they win where they can do no harm.
    pub wishes: &'a BTreeMap<String, String>,
}

/// All settings, by name, as `postgresql.conf` holds them.
pub fn settings(basis: &Basis) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = fixed().chain(sized(basis)).map(|(name, value)| (name.to_owned(), value)).collect();
    settings.extend(basis.wishes.iter().map(|(name, value)| (name.clone(), value.clone())));
    at_least(&mut settings, "max_connections", basis.pool + SPARE_CONNECTIONS);
    at_least(&mut settings, "max_locks_per_transaction", LEAST_LOCKS);
    settings
}

/// What does not depend on the size.
fn fixed() -> impl Iterator<Item = (&'static str, String)> {
    [
        ("listen_addresses", "*"),
        ("password_encryption", "scram-sha-256"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        // The container's log is the only one.
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
        ("log_line_prefix", "%m [%p] %q%u@%d "),
        // Statements may be logged, the data of persons in their parameters may not.
        ("log_parameter_max_length", "0"),
        // Program indicators make queries whose compilation takes longer than they do.
        ("jit", "off"),
        ("max_locks_per_transaction", "256"),
        // What DHIS2 was told to be stored is stored.
        ("synchronous_commit", "on"),
        ("random_page_cost", "1.1"),
        ("checkpoint_completion_target", "0.9"),
        ("wal_compression", "on"),
        // A node that has huge pages grants none to a container without a limit for them: the server would die of SIGBUS.
        ("huge_pages", "off"),
        // The statement of a DHIS2 that was killed, a migration above all, ends and frees its locks.
        ("client_connection_check_interval", "10s"),
        ("tcp_keepalives_idle", "60"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "6"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
}

/// What follows from memory, volume and pool.
fn sized(basis: &Basis) -> impl Iterator<Item = (&'static str, String)> {
    let memory = basis.memory_mib;
    let connections = basis.pool + SPARE_CONNECTIONS;
    // A tenth of the volume, so that the write-ahead log can't fill it; two segments of 16 MB are the least that works.
    let wal = (basis.volume_mib / 10).clamp(64, 8192);
    [
        ("max_connections", connections.to_string()),
        ("shared_buffers", megabytes((memory / 4).max(16))),
        ("effective_cache_size", megabytes((memory * 65 / 100).max(16))),
        ("work_mem", megabytes((memory / 4 / connections).clamp(4, 256))),
        ("maintenance_work_mem", megabytes((memory / 16).clamp(16, 2048))),
        ("autovacuum_work_mem", megabytes((memory / 64).clamp(16, 512))),
        ("max_wal_size", megabytes(wal)),
        ("min_wal_size", megabytes((wal / 4).max(32))),
    ]
    .into_iter()
}

fn megabytes(amount: i64) -> String {
    format!("{amount}MB")
}

fn at_least(settings: &mut BTreeMap<String, String>, name: &str, least: i64) {
    let enough = settings.get(name).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value >= least);
    if !enough {
        settings.insert(name.to_owned(), least.to_string());
    }
}

/// The text of `postgresql.conf`.
pub fn write(settings: &BTreeMap<String, String>) -> String {
    settings.iter().fold(String::new(), |file, (name, value)| file + &format!("{name} = '{}'\n", value.replace('\'', "''")))
}

/// The settings that the server reads only at its start (context `postmaster` in `pg_settings`).
pub fn read_at_start(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    settings.iter().filter(|(name, _)| AT_START.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Of the settings above and those that a user may set, the ones of context `postmaster`.
const AT_START: [&str; 8] = [
    "autovacuum_max_workers",
    "huge_pages",
    "listen_addresses",
    "logging_collector",
    "max_connections",
    "max_locks_per_transaction",
    "shared_buffers",
    "wal_buffers",
];

/// Who may connect: the superuser by the local socket only, the two roles to their database only.
pub fn access(database: &str, roles: &[&str]) -> String {
    let over_network = roles.iter().map(|role| format!("host {database} {role} all scram-sha-256\n"));
    std::iter::once("local all postgres peer\n".to_owned()).chain(over_network).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::schema::PARAMETERS;

    fn basis(wishes: &BTreeMap<String, String>) -> Basis<'_> {
        Basis { memory_mib: 1024, volume_mib: 20 << 10, pool: 40, wishes }
    }

    #[test]
    fn settings_follow_the_memory() {
        let small = settings(&basis(&BTreeMap::new()));
        assert_eq!(small["shared_buffers"], "256MB");
        assert_eq!(small["work_mem"], "4MB");
        assert_eq!(small["max_connections"], "60");
        let large = settings(&Basis { memory_mib: 32 << 10, volume_mib: 500 << 10, pool: 80, wishes: &BTreeMap::new() });
        assert_eq!(large["shared_buffers"], "8192MB");
        assert_eq!(large["work_mem"], "81MB");
        assert_eq!(large["max_wal_size"], "8192MB");
    }

    #[test]
    fn the_log_never_fills_a_small_volume() {
        let tiny = settings(&Basis { memory_mib: 256, volume_mib: 500, pool: 10, wishes: &BTreeMap::new() });
        assert_eq!((tiny["max_wal_size"].as_str(), tiny["min_wal_size"].as_str()), ("64MB", "32MB"));
    }

    #[test]
    fn wishes_win_where_they_do_no_harm() {
        let wishes = [("work_mem", "32MB"), ("max_connections", "10"), ("max_locks_per_transaction", "64")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let settings = settings(&basis(&wishes));
        assert_eq!(settings["work_mem"], "32MB");
        assert_eq!(settings["max_connections"], "60");
        assert_eq!(settings["max_locks_per_transaction"], "128");
    }

    #[test]
    fn only_the_local_socket_lets_the_superuser_in() {
        assert_eq!(
            access("dhis2", &["dhis", "dhis_backup"]),
            "local all postgres peer\nhost dhis2 dhis all scram-sha-256\nhost dhis2 dhis_backup all scram-sha-256\n"
        );
    }

    /// What PostgreSQL itself says of its settings: name, context, group, type, default, least and most of each.
    pub fn described() -> BTreeMap<String, Vec<String>> {
        let programs = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's programs: install Debian's package postgresql");
        let program = programs
            .map(|entry| entry.unwrap().path().join("bin/postgres"))
            .find(|path| path.exists())
            .expect("a postgres program under /usr/lib/postgresql");
        let output = std::process::Command::new(program).arg("--describe-config").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
        let columns = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
        columns.map(|columns| (columns[0].clone(), columns)).collect()
    }

    #[test]
    fn postgresql_knows_the_settings() {
        let described = described();
        let computed = settings(&basis(&BTreeMap::new()));
        for name in computed.keys().map(String::as_str).chain(PARAMETERS) {
            let context = &described.get(name).unwrap_or_else(|| panic!("PostgreSQL has no setting {name}"))[1];
            assert_eq!(context == "postmaster", AT_START.contains(&name), "{name} is of context {context}");
        }
    }
}
