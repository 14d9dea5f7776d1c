//! An operator with a proxy of its own.

use std::time::{Duration, Instant};

use dhis2_operator::operator::ask;

use super::stage::Stage;
use crate::faults::proxy::Proxy;
use crate::rig::operator::{Operator, Start};
use crate::rig::process::Usage;
use crate::rig::release::Release;
use crate::site::Outcome;

/// An operator, and all that it needs to run.
pub struct Replica {
    /// What stands between it and the API server.
    pub proxy: Proxy,
    /// How it is started.
    pub start: Start,
    operator: Option<Operator>,
    since: Instant,
}

/// The longest term of a Lease: where nobody else stands for it, nothing is to happen because it ran out on a machine under load.
pub const ALONE: &str = "300";

/// How often lists are made anew where a storm needs that: the shortest time that there is.
pub const RELIST: &str = "10";

impl Replica {
    /// One that does not run yet, as the pod of this name.
    ///
    /// # Errors
    /// When a file can't be written.
    pub async fn new(stage: &Stage, release: &Release, pod: &str) -> Outcome<Self> {
        let (proxy, start) = stage.ground.operator(release, pod).await?;
        let start = start.with("LEASE_TTL", ALONE);
        Ok(Self { proxy, start, operator: None, since: Instant::now() })
    }

    /// With another value of a variable of its environment, from its next start on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.start = self.start.with(name, value);
        self
    }

    /// Starts it, without waiting for anything.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(&mut self) -> Outcome {
        self.operator = Some(self.start.spawn()?);
        self.since = Instant::now();
        Ok(())
    }

    /// Waits until `/readyz` says what begins with this, or it has ended.
    ///
    /// # Errors
    /// When it ends or does not say that in time.
    pub async fn until(&mut self, word: &str, limit: Duration) -> Outcome<Duration> {
        let begun = Instant::now();
        loop {
            let said = self.says().await;
            if said.starts_with(word) {
                return Ok(begun.elapsed());
            }
            if let Some(ended) = self.ended() {
                return Err(ended.into());
            }
            if begun.elapsed() > limit {
                return Err(format!("the operator is not {word} within {} s: {said}", limit.as_secs()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it says at `/readyz`.
    pub async fn says(&self) -> String {
        let Some(operator) = &self.operator else { return String::new() };
        let address = operator.address().to_string();
        let said = tokio::task::spawn_blocking(move || ask::ready(&address)).await;
        match said {
            Ok(Ok(said) | Err(ask::Error::NotReady { said, .. })) => said,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// The process, if it was started.
    pub fn operator(&self) -> Option<&Operator> {
        self.operator.as_ref()
    }

    /// The number of its process.
    pub fn id(&mut self) -> Option<u32> {
        Some(self.operator.as_mut()?.process().id())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.kill();
        }
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> Option<String> {
        let process = self.operator.as_mut()?.process();
        process.ended().map(|status| format!("the operator ended, {status}: {}", process.last_words()))
    }

    /// For how long it has been running.
    pub fn awake_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// What it uses.
    pub fn usage(&self) -> Usage {
        self.operator.as_ref().map(Operator::usage).unwrap_or_default()
    }

    /// What it said, and how it was called.
    pub fn said(&mut self) -> String {
        let log = self.operator.as_mut().map(|operator| operator.process().log().to_owned());
        let said = log.and_then(|log| std::fs::read_to_string(log).ok()).unwrap_or_default();
        let called: Vec<String> = self.start.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
        called.join("\n") + "\n" + &said
    }
}
