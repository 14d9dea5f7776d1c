//! Where things lie inside the pods: the agreement between the operator, which mounts them, and the agent, which uses them.

/// Directory that an init container fills with [`AGENT`] and [`RESTIC`] (`dhis2-agent install /agent`).
pub const AGENT_DIR: &str = "/agent";
/// The agent, as the other containers of the pod run it.
pub const AGENT: &str = "/agent/dhis2-agent";
/// restic, beside the agent.
pub const RESTIC: &str = "/agent/restic";
/// restic in the operator's own image, from where it is installed.
pub const RESTIC_IN_IMAGE: &str = "/usr/local/bin/restic";

/// The database volume.
pub const DATA: &str = "/data";
/// PostgreSQL's data directory, a subdirectory so that the volume's root may carry a file system's own entries.
pub const PGDATA: &str = "/data/pgdata";
/// A data directory under construction. Never started by `database run`.
pub const PGDATA_BUILDING: &str = "/data/pgdata.building";
/// The mark of a finished database volume, see `agent::database::mark`.
pub const MARK: &str = "/data/dhis2-database.json";
/// What is being restored or loaded to the volume and is not finished.
pub const RESTORE_NOTE: &str = "/data/dhis2-restore.json";
/// Held by whoever builds or runs the database on the volume.
pub const DATA_LOCK: &str = "/data/.lock";

/// Directory of PostgreSQL's configuration, a ConfigMap that may change while the server runs.
pub const POSTGRES_CONFIG: &str = "/etc/dhis2-database";
/// The server's parameters.
pub const POSTGRESQL_CONF: &str = "/etc/dhis2-database/postgresql.conf";
/// Who may connect.
pub const PG_HBA_CONF: &str = "/etc/dhis2-database/pg_hba.conf";
/// Directory of the server's socket.
pub const SOCKETS: &str = "/var/run/postgresql";

/// Port of the container that watches a server, beside DHIS2's 8080 and PostgreSQL's 5432.
pub const WATCH_PORT: u16 = 8081;
/// The cause that it told last.
pub const WATCH_TOLD: &str = "/tmp/dhis2-agent-told";

/// DHIS2's file store (`filestore.provider=filesystem` below `DHIS2_HOME`).
pub const FILES: &str = "/opt/dhis2/files";
/// Name of the mark in the root of a file store that is being restored: what is there is not whole yet.
pub const FILES_RESTORING: &str = ".dhis2-restoring.json";
/// The volume of backups.
pub const BACKUPS: &str = "/backups";
/// The restic repository on it.
pub const REPOSITORY: &str = "/backups/repository";
/// Held by whoever writes to the repository.
pub const REPOSITORY_LOCK: &str = "/backups/.lock";
/// Where a set is restored to see whether it can be.
pub const SCRATCH: &str = "/scratch";
/// A data directory on it.
pub const SCRATCH_PGDATA: &str = "/scratch/pgdata";
/// The file store on it.
pub const SCRATCH_FILES: &str = "/scratch/files";
/// What people bring to a new instance: a claim of theirs, only read.
pub const SOURCE: &str = "/source";
/// The `Dhis2Instance` as JSON, for the manifest of a backup.
pub const RESOURCE: &str = "/etc/dhis2-instance/resource.json";

/// Directory of the Secrets, each mounted as a directory of files.
pub const SECRETS: &str = "/secrets";
/// Name of the owner role of the database.
pub const DATABASE_USERNAME: &str = "/secrets/database/username";
/// Its password.
pub const DATABASE_PASSWORD: &str = "/secrets/database/password";
/// Password of [`BACKUP_ROLE`].
pub const DATABASE_BACKUP_PASSWORD: &str = "/secrets/database/backup-password";
/// DHIS2's `encryption.password`. Absent when DHIS2's built-in default key is in use.
pub const ENCRYPTION_PASSWORD: &str = "/secrets/encryption/password";
/// Name of the administrator's account in DHIS2.
pub const ADMIN_USERNAME: &str = "/secrets/admin/username";
/// The generated password that replaces the default one.
pub const ADMIN_PASSWORD: &str = "/secrets/admin/password";
/// Key of the backup repository.
pub const BACKUP_PASSWORD: &str = "/secrets/backup/password";

/// Credentials of the S3 server: not below [`SECRETS`], since what is there goes into each set, and these open nothing in it.
pub const S3_CREDENTIALS: &str = "/etc/dhis2-repository/credentials";
/// Name of the key in the Secret that has the access key's name.
pub const S3_ACCESS_KEY_ID: &str = "accessKeyID";
/// Name of the key in the Secret that has the access key.
pub const S3_SECRET_ACCESS_KEY: &str = "secretAccessKey";
/// The authority of the S3 server's certificate.
pub const S3_CA: &str = "/etc/dhis2-repository/ca";
/// Name of the key in the Secret that has its certificate.
pub const S3_CA_CERTIFICATE: &str = "ca.crt";

/// Key of the repository that sets are copied to: not below [`SECRETS`] either.
pub const COPY_PASSWORD: &str = "/etc/dhis2-repository/copy/password";

/// What the variables of the check begin with that hold values of `spec.secretConfig`; the key follows.
pub const SECRET_CONFIG: &str = "spec.secretConfig.";

/// Where the report of a verb goes: the termination message of its container.
pub const REPORT: &str = "/dev/termination-log";

/// Name of the database.
pub const DATABASE: &str = "dhis2";
/// Owner of the database: what DHIS2 connects as.
pub const OWNER_ROLE: &str = "dhis";
/// Reads everything, writes nothing.
pub const BACKUP_ROLE: &str = "dhis_backup";
/// Superuser, reachable by the local socket only.
pub const SUPERUSER: &str = "postgres";
/// Port of PostgreSQL.
pub const POSTGRES_PORT: u16 = 5432;

/// The version of a DHIS2 image is part of a file name in this directory: `dhis-api-<version>.jar` (dhis2-core at 2.42.4.1,
/// observed: the exploded WAR of the released images).
pub const DHIS2_LIBRARIES: &str = "/usr/local/tomcat/webapps/ROOT/WEB-INF/lib";

/// DHIS2's log, unless it is told to write it elsewhere (`DHIS2_HOME/logs`; observed at 2.42.4.1).
pub const DHIS2_LOG: &str = "/opt/dhis2/logs/dhis.log";
