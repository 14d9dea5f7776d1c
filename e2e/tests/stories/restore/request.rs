//! Requests to restore, as the story makes and sees them.

use std::time::Duration;

use dhis2_e2e::site::{Outcome, wait};
use dhis2_operator::api::Dhis2Restore;
use dhis2_operator::api::restore::Dhis2RestoreStatus;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Play;

/// A restore, with the starts of its pods.
const LIMIT: Duration = Duration::from_mins(6);

/// A request.
pub struct Request {
    name: String,
    api: Api<Dhis2Restore>,
}

impl Play<'_> {
    /// The request of this name.
    pub fn request(&self, name: &str) -> Request {
        Request { name: name.to_owned(), api: self.api() }
    }

    /// Asks for a restore of the instance.
    pub async fn ask(&self, name: &str, more: &Value) -> Outcome<Request> {
        let mut spec = json!({ "instance": "play" });
        dhis2_e2e::site::instance::merge(&mut spec, more);
        let request = self.request(name);
        request.api.create(&PostParams::default(), &Dhis2Restore::new(name, serde_json::from_value(spec)?)).await?;
        Ok(request)
    }
}

impl Request {
    /// Waits until it is over, and checks how. Returns what is told then.
    pub async fn comes_to(&self, phase: &str) -> Outcome<Dhis2RestoreStatus> {
        let status = |seen: &Dhis2Restore| seen.status.clone().unwrap_or_default();
        let over = |seen: &Dhis2Restore| {
            let status = status(seen);
            let ended = ["Done", "Failed", "Canceled", "Reverted"].contains(&status.phase.as_deref().unwrap_or_default());
            ended && status.observed_generation == seen.metadata.generation
        };
        // A restore that is to be reverted was over before.
        let over = |seen: &Dhis2Restore| over(seen) && (phase != "Reverted" || status(seen).phase.as_deref() != Some("Done"));
        let told = status(&wait::until(&self.api, &self.name, &format!("{} to be {phase}", self.name), LIMIT, over).await?);
        assert_eq!(told.phase.as_deref(), Some(phase), "{:?}", told.message);
        assert!(told.finished.is_some() && !told.conditions.is_empty(), "{told:?}");
        Ok(told)
    }

    /// Waits until it is told to wait for another one.
    pub async fn waits_for(&self, other: &str) -> Outcome {
        let waits = |seen: &Dhis2Restore| {
            let status = seen.status.as_ref();
            let message = status.and_then(|status| status.message.as_deref()).unwrap_or_default();
            status.and_then(|status| status.phase.as_deref()) == Some("Waiting") && message.contains(other)
        };
        wait::until(&self.api, &self.name, &format!("{} to wait for {other}", self.name), LIMIT, waits).await?;
        Ok(())
    }

    /// Takes it back.
    pub async fn revert(&self) -> Outcome {
        let patch = json!({ "spec": { "revert": true } });
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}
