//! Requests to restore and for restore tests, as people make and see them.

use std::time::Duration;

use dhis2_operator::api::errand::Dhis2RestoreTestStatus;
use dhis2_operator::api::restore::Dhis2RestoreStatus;
use dhis2_operator::api::{Dhis2Restore, Dhis2RestoreTest};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Outcome, Story, instance, wait};

/// A restore, with the starts of its pods.
const LIMIT: Duration = Duration::from_mins(6);

/// A request.
pub struct Request {
    name: String,
    api: Api<Dhis2Restore>,
}

impl Story {
    /// The request of this name.
    pub fn restore(&self, name: &str) -> Request {
        Request { name: name.to_owned(), api: Api::namespaced(self.client.clone(), &self.namespace) }
    }

    /// Asks for a restore of the instance.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn ask_for_restore(&self, name: &str, of: &str, more: &Value) -> Outcome<Request> {
        let mut spec = json!({ "instance": of });
        instance::merge(&mut spec, more);
        let request = self.restore(name);
        request.api.create(&PostParams::default(), &Dhis2Restore::new(name, serde_json::from_value(spec)?)).await?;
        Ok(request)
    }

    /// Asks for a restore test of the instance, and waits until this is told of it.
    ///
    /// # Errors
    /// When the API server refuses it, or that takes too long.
    pub async fn test_until(
        &self,
        name: &str,
        (of, more): (&str, &Value),
        told: impl Fn(&Dhis2RestoreTestStatus) -> bool,
    ) -> Outcome<Dhis2RestoreTestStatus> {
        let api: Api<Dhis2RestoreTest> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut spec = json!({ "instance": of });
        instance::merge(&mut spec, more);
        api.create(&PostParams::default(), &Dhis2RestoreTest::new(name, serde_json::from_value(spec)?)).await?;
        let told = |seen: &Dhis2RestoreTest| seen.status.as_ref().is_some_and(&told);
        Ok(wait::until(&api, name, &format!("what is to be told of {name}"), LIMIT, told).await?.status.unwrap_or_default())
    }

    /// A restore test of the instance, to its end.
    ///
    /// # Errors
    /// As for [`Story::test_until`].
    pub async fn test(&self, name: &str, of: &str, more: &Value) -> Outcome<Dhis2RestoreTestStatus> {
        self.test_until(name, (of, more), |told| told.progress.finished.is_some()).await
    }
}

fn status(seen: &Dhis2Restore) -> Dhis2RestoreStatus {
    seen.status.clone().unwrap_or_default()
}

impl Request {
    /// Waits until it is over, and checks how. Returns what is told then.
    ///
    /// # Errors
    /// When that takes too long, or it came to another end.
    pub async fn comes_to(&self, phase: &str) -> Outcome<Dhis2RestoreStatus> {
        let over = |seen: &Dhis2Restore| {
            let status = status(seen);
            let ended = ["Done", "Failed", "Canceled", "Reverted"].contains(&status.phase.as_deref().unwrap_or_default());
            ended && status.observed_generation == seen.metadata.generation
        };
        // A restore that is to be reverted was over before.
        let over = |seen: &Dhis2Restore| over(seen) && (phase != "Reverted" || status(seen).phase.as_deref() != Some("Done"));
        let told = status(&wait::until(&self.api, &self.name, &format!("{} to be {phase}", self.name), LIMIT, over).await?);
        let as_expected = told.phase.as_deref() == Some(phase) && told.finished.is_some() && !told.conditions.is_empty();
        if as_expected { Ok(told) } else { Err(format!("{} is not {phase}: {told:?}", self.name).into()) }
    }

    /// Waits until it is told to wait for another one.
    ///
    /// # Errors
    /// When it does not.
    pub async fn waits_for(&self, other: &str) -> Outcome {
        let waits = |seen: &Dhis2Restore| {
            let status = status(seen);
            status.phase.as_deref() == Some("Waiting") && status.message.unwrap_or_default().contains(other)
        };
        wait::until(&self.api, &self.name, &format!("{} to wait for {other}", self.name), LIMIT, waits).await?;
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn revert(&self) -> Outcome {
        let patch = json!({ "spec": { "revert": true } });
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}
