//! What a person is told of a fault that is theirs, or their cluster's.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;

use super::scene::Scene;
use crate::faults::ledger::EVENT;

/// I8: so soon it is told.
pub const SOON: Duration = Duration::from_secs(10);

/// What is told, and where.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// The instance's condition `Stalled` has this reason, its message these words, and there is an event of this reason.
    Instance(&'static str, &'static [&'static str]),
    /// `/readyz` has these words.
    Readyz(&'static str),
}

impl Told {
    /// Why it is not told yet, if it is not.
    pub async fn lacks(&self, scene: &Scene<'_>) -> Option<String> {
        match self {
            Self::Instance(reason, words) => instance(scene, reason, words),
            Self::Readyz(words) => {
                let mut said = String::new();
                for replica in &scene.replicas {
                    said += &replica.says().await;
                }
                (!said.contains(words)).then(|| format!("/readyz says {said:?} without {words:?}"))
            }
        }
    }
}

fn instance(scene: &Scene<'_>, reason: &str, words: &[&str]) -> Option<String> {
    let conditions = scene.instance().and_then(|instance| instance.status).map(|status| status.conditions).unwrap_or_default();
    let Some(stalled) = conditions.iter().find(|condition| condition.type_ == "Stalled") else {
        return Some("no condition Stalled".to_owned());
    };
    let says = stalled.status == "True" && stalled.reason == reason && words.iter().all(|word| stalled.message.contains(word));
    if !says {
        return Some(format!("Stalled is {} {}: {}", stalled.status, stalled.reason, stalled.message));
    }
    let events = scene.stage.ground.ledger.present(&scene.namespace);
    let mut events = events.iter().filter(|((kind, _), _)| *kind == EVENT).filter_map(|(_, object)| {
        let value = serde_json::to_value(object.as_ref()).ok()?;
        serde_json::from_value::<Event>(value).ok()
    });
    let told = events.any(|event| event.reason.as_deref() == Some(reason) && event.type_.as_deref() == Some("Warning"));
    (!told).then(|| format!("no event {reason}"))
}
