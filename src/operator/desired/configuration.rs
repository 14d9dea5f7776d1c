//! Configuration files, without secrets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    Policy, Wanted, dhis_conf,
    metadata::{Part, owned},
};
use crate::{
    dhis2::postgresql::{self, Basis},
    layout,
    operator::{instance::Instance, kind::Kind, quantity},
};

/// Key of `dhis.conf`.
pub const DHIS_CONF: &str = "dhis.conf";
/// Key of the logging configuration.
pub const LOG4J2: &str = "log4j2.xml";
/// Key of `/etc/passwd` of the database pod.
pub const PASSWD: &str = "passwd";

/// The database's user has a name in any image: PostgreSQL asks for the name of whom it runs as.
const PASSWD_OF_DATABASE: &str = "root:x:0:0:root:/:/usr/sbin/nologin\npostgres:x:999:999:PostgreSQL:/tmp:/usr/sbin/nologin\n";

/// The `ConfigMap`s of an instance.
pub fn configuration(instance: &Instance) -> Vec<Wanted> {
    vec![
        files(instance, &instance.name, Part::Application, application(instance)),
        files(instance, &instance.child("database"), Part::Database, database(instance)),
        files(instance, &instance.child("backup"), Part::Backup, [("resource.json".into(), instance.resource.clone())].into()),
    ]
}

/// What DHIS2 reads, at its start only.
pub fn application(instance: &Instance) -> BTreeMap<String, String> {
    [(DHIS_CONF, dhis_conf::text(instance)), (LOG4J2, include_str!("log4j2.xml").to_owned())]
        .map(|(key, text)| (key.to_owned(), text))
        .into()
}

/// What PostgreSQL reads, most of it also while it runs.
fn database(instance: &Instance) -> BTreeMap<String, String> {
    [
        ("postgresql.conf", postgresql::write(&database_settings(instance))),
        ("pg_hba.conf", postgresql::access(layout::DATABASE, &[layout::OWNER_ROLE, layout::BACKUP_ROLE])),
        (PASSWD, PASSWD_OF_DATABASE.to_owned()),
    ]
    .map(|(key, text)| (key.to_owned(), text))
    .into()
}

/// PostgreSQL's settings.
pub fn database_settings(instance: &Instance) -> BTreeMap<String, String> {
    let bytes = quantity::bytes(&instance.database.storage.size).unwrap_or(0);
    postgresql::settings(&Basis {
        memory_mib: instance.database.memory_mib,
        volume_mib: i64::try_from(bytes >> 20).unwrap_or(i64::MAX),
        pool: instance.application.pool,
        wishes: &instance.database.parameters,
    })
}

fn files(instance: &Instance, name: &str, part: Part, data: BTreeMap<String, String>) -> Wanted {
    let config_map = ConfigMap { metadata: owned(instance, name, part), data: Some(data), ..ConfigMap::default() };
    Wanted::new(Kind::ConfigMap, name, &config_map, Policy::Keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::fixture;

    #[test]
    fn the_files_of_the_database() {
        let files = database(&fixture::plain());
        insta::assert_snapshot!(files["postgresql.conf"], @"
        autovacuum_work_mem = '16MB'
        checkpoint_completion_target = '0.9'
        client_connection_check_interval = '10s'
        effective_cache_size = '665MB'
        huge_pages = 'off'
        jit = 'off'
        listen_addresses = '*'
        log_destination = 'stderr'
        log_line_prefix = '%m [%p] %q%u@%d '
        log_parameter_max_length = '0'
        log_timezone = 'UTC'
        logging_collector = 'off'
        maintenance_work_mem = '64MB'
        max_connections = '60'
        max_locks_per_transaction = '256'
        max_wal_size = '2048MB'
        min_wal_size = '512MB'
        password_encryption = 'scram-sha-256'
        random_page_cost = '1.1'
        shared_buffers = '256MB'
        synchronous_commit = 'on'
        tcp_keepalives_count = '6'
        tcp_keepalives_idle = '60'
        tcp_keepalives_interval = '10'
        timezone = 'UTC'
        wal_compression = 'on'
        work_mem = '4MB'
        ");
        insta::assert_snapshot!(files["pg_hba.conf"], @"
        local all postgres peer
        host dhis2 dhis all scram-sha-256
        host dhis2 dhis_backup all scram-sha-256
        ");
    }

    #[test]
    fn the_resource_is_kept_as_it_was_given() {
        let instance = fixture::plain();
        assert_eq!(fixture::object(&instance, Kind::ConfigMap, "play-backup")["data"]["resource.json"], instance.resource);
    }
}
