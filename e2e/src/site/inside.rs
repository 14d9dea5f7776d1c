//! Commands inside the pods of a story.

use super::{Outcome, Story};
use crate::cluster::run;

impl Story {
    /// What a shell in a pod's main container says to a command.
    ///
    /// # Errors
    /// When the command fails.
    pub fn inside(&self, pod: &str, command: &str) -> Outcome<String> {
        Ok(run::output(self.site.kubectl().args(["--namespace", &self.namespace, "exec", pod, "--", "sh", "-c", command]))?)
    }

    /// What the PostgreSQL of an instance says to a statement of its superuser, one row a line.
    ///
    /// # Errors
    /// When the statement fails.
    pub fn sql(&self, instance: &str, statement: &str) -> Outcome<String> {
        let mut psql = self.site.kubectl();
        psql.args(["--namespace", &self.namespace, "exec", &format!("{instance}-database-0"), "--", "psql", "-U", "postgres"]);
        Ok(run::output(psql.args(["-d", "dhis2", "-v", "ON_ERROR_STOP=1", "-Atc", statement]))?.trim().to_owned())
    }
}
