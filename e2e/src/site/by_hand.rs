//! What people start by hand.

use dhis2_operator::api::Dhis2Instance;

use super::instance::Instance;
use super::{Outcome, Story};
use crate::cluster::run;

impl Story {
    /// Makes a Job of a CronJob, as people do who do not want to wait for its time.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn start(&self, cron_job: &str, name: &str) -> Outcome {
        let from = format!("--from=cronjob/{cron_job}");
        run::output(self.site.kubectl().args(["--namespace", &self.namespace, "create", "job", &from, name]))?;
        Ok(())
    }

    /// Makes a backup set of this name, and waits until the status tells of it.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn back_up(&self, instance: &Instance, name: &str) -> Outcome<Dhis2Instance> {
        self.start(&format!("{}-backup", instance.name), name)?;
        // The first backup may be tried once more meanwhile, and be the last one.
        let made = |seen: &Dhis2Instance| {
            let backup = seen.status.as_ref().and_then(|status| status.backup.as_ref());
            backup.is_some_and(|backup| backup.history.iter().any(|set| set.set == name))
        };
        instance.when(&format!("set {name} in the status"), made).await
    }
}
