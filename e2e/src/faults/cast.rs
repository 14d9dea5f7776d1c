//! The operator of a run: started again whenever it is killed, as its kubelet would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::gate::Gate;
use crate::rig::operator::{Operator, Start};
use crate::rig::process::Usage;
use crate::site::Outcome;

/// An operator, and what starts it.
pub struct Cast {
    /// What its writes pass through.
    pub gate: Gate,
    start: Mutex<Start>,
    living: Mutex<Option<Living>>,
}

struct Living {
    operator: Operator,
    since: Instant,
}

impl Cast {
    /// One that does not run yet.
    pub fn new(gate: Gate, start: Start) -> Self {
        Self { gate, start: Mutex::new(start), living: Mutex::new(None) }
    }

    /// Starts it, and waits until `/readyz` says this.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn raise(&self, word: &str) -> Outcome {
        let mut living = self.living.lock().await;
        let mut operator = self.start.lock().await.spawn()?;
        operator.ready(word).await?;
        *living = Some(Living { operator, since: Instant::now() });
        Ok(())
    }

    /// Ends it, and starts it with another value of a variable.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn upgrade(&self, variable: &str, value: &str) -> Outcome {
        let ended = self.living.lock().await.take();
        if let Some(Living { operator, .. }) = ended {
            operator.terminate().await;
        }
        {
            let mut start = self.start.lock().await;
            *start = start.clone().with(variable, value);
        }
        self.raise(LEADS).await
    }

    /// Kills it whenever the gate asks for that, and starts it again if that is wanted. Comes back only when it does not get ready.
    ///
    /// # Errors
    /// Why not.
    pub async fn keep(self: Arc<Self>, again: bool) -> Outcome<std::convert::Infallible> {
        loop {
            self.gate.killed().await;
            // Held until it is there again: who asks how long it has been awake waits for that.
            let mut living = self.living.lock().await;
            if let Some(Living { operator, .. }) = living.take() {
                operator.kill();
            }
            self.gate.revive();
            if again {
                let mut operator = self.start.lock().await.spawn()?;
                operator.ready(LEADS).await?;
                *living = Some(Living { operator, since: Instant::now() });
            }
        }
    }

    /// What it is called with.
    pub async fn called(&self) -> String {
        format!("{:?}", self.start.lock().await.environment())
    }

    /// For how long it has been ready; for ever, when it does not run.
    pub async fn awake_for(&self) -> Duration {
        self.living.lock().await.as_ref().map_or(Duration::MAX, |living| living.since.elapsed())
    }

    /// What it uses.
    pub async fn usage(&self) -> Usage {
        self.living.lock().await.as_ref().map(|living| living.operator.usage()).unwrap_or_default()
    }

    /// How it ended, if it did by itself.
    pub async fn ended(&self) -> Option<String> {
        let mut living = self.living.lock().await;
        let process = living.as_mut()?.operator.process();
        process.ended().map(|status| format!("{status}: {}", process.last_words()))
    }
}

/// What a leader says when its watches are in step.
pub const LEADS: &str = "ready: leading";
/// What any other replica says.
pub const STANDS_BY: &str = "ready: standing by";
