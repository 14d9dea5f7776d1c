//! How `pg_dump` is run. restic runs it and stores what it prints: no dump ever lies on a disk in clear.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::agent::args::DatabaseAddress;
use crate::agent::postgres::programs::Programs;
use crate::agent::postgres::{identifier, identity};
use crate::agent::secret;
use crate::agent::sets::manifest::DUMP;
use crate::agent::sets::moment::LOCK_WAIT;
use crate::dhis2::derived::Family;
use crate::layout;

/// PostGIS fills this table itself, and only a superuser could restore it: with it, a restore as the owner ends with an error
/// (dhis2-core at 2.42.4.1, observed).
const SPATIAL: &str = "public.spatial_ref_sys";

/// What stays out of the dump.
pub struct LeftOut {
    /// Patterns of tables of which it has no data.
    pub data: Vec<String>,
    /// Patterns of tables and views that it does not have at all.
    pub tables: Vec<String>,
}

impl LeftOut {
    /// The derived tables, and what can't be made without them: schemas and names of `views`. DHIS2 drops its SQL views before it replaces
    /// those tables, and makes them again afterwards (dhis2-core, `AnalyticsTableGenerator`, `ResourceTableService`).
    pub fn of(derived: &[Family], views: &[(String, String)]) -> Self {
        let families = derived.iter().flat_map(|family| family.patterns).map(|pattern| (*pattern).to_owned());
        let views = views.iter().map(|(schema, view)| format!("{}.{}", identifier(schema), identifier(view)));
        Self { data: vec![SPATIAL.to_owned()], tables: families.chain(views).collect() }
    }
}

/// The password in a file that only this user can read, gone when dropped: neither an argument nor an environment shows it.
#[derive(Debug)]
pub struct PasswordFile(PathBuf);

impl PasswordFile {
    /// Writes it.
    pub fn write(password: &secret::Value) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("dhis2-pgpass-{}", std::process::id()));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let escaped = password.reveal().replace('\\', "\\\\").replace(':', "\\:");
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        writeln!(file, "*:*:*:*:{escaped}")?;
        Ok(Self(path))
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Adds to `restic backup` the program whose output it stores, run by way of `hidden`.
pub fn from_command(
    restic: &mut Command,
    hidden: &[&str],
    programs: &Programs,
    address: &DatabaseAddress,
    password: &PasswordFile,
    snapshot: &str,
    left_out: &LeftOut,
) {
    let pg_dump = programs.command("pg_dump");
    restic.env("PGPASSFILE", &password.0).args(["--stdin-filename", DUMP, "--stdin-from-command", "--"]);
    restic.args(hidden).arg(pg_dump.get_program());
    restic.arg(format!("--host={}", address.host)).arg(format!("--port={}", address.port));
    restic.arg(format!("--username={}", layout::BACKUP_ROLE)).arg(format!("--dbname={}", layout::DATABASE)).arg("--no-password");
    // Not compressed: restic finds what is new in it, and compresses that. Comments belong to extensions' owners.
    restic.args(["--format=custom", "--compress=0", "--no-comments"]).arg(format!("--lock-wait-timeout={LOCK_WAIT}"));
    restic.arg(format!("--snapshot={snapshot}")).arg(format!("--exclude-schema={}", identity::SCHEMA));
    restic.args(left_out.data.iter().map(|pattern| format!("--exclude-table-data={pattern}")));
    restic.args(left_out.tables.iter().map(|pattern| format!("--exclude-table={pattern}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_password_is_in_a_file_of_its_own_only_for_a_while() {
        let file = PasswordFile::write(&secret::Value::new("a:b\\c")).unwrap();
        let path = file.0.clone();
        assert_eq!(fs::read_to_string(&path).unwrap(), "*:*:*:*:a\\:b\\\\c\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_can_be_made_again_is_left_out() {
        let derived = crate::dhis2::derived::tables("2.42.4.1".parse().unwrap());
        let left_out = LeftOut::of(derived, &[("public".into(), r#"_view_a"b*"#.into())]);
        assert_eq!(left_out.data, ["public.spatial_ref_sys"]);
        assert_eq!(
            left_out.tables,
            ["public.analytics", "public.analytics_*", r#""public"."_view_a""b*""#],
            "in quotes no letter is a pattern"
        );
    }
}
