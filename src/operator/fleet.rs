//! All resources of all scopes, as the watches keep them: whoever asks for an address has to know who else does.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::{core::DeserializeGuard, runtime::reflector::Store};
use tokio::sync::watch;

use super::{addresses, parse::Refusal, reconcile::key_of, world::Key};
use crate::api::{Dhis2Instance, Reason};

/// The resources of a scope as the reflector keeps them.
pub type Resources = Store<DeserializeGuard<Dhis2Instance>>;

/// All resources.
#[derive(Debug)]
pub struct Fleet {
    scopes: Vec<Resources>,
    changes: watch::Sender<()>,
}

impl Fleet {
    /// The resources of these scopes.
    pub fn new(scopes: Vec<Resources>) -> Self {
        Self { scopes, changes: watch::Sender::new(()) }
    }

    /// A resource was made, changed or is gone.
    pub fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Shows every resource that can be read.
    pub fn each(&self, mut show: impl FnMut(&Dhis2Instance)) {
        let all = self.scopes.iter().flat_map(Store::state);
        all.for_each(|resource| resource.0.iter().for_each(&mut show));
    }

    /// Why a resource does not get the address that it asks for.
    pub fn taken(&self, resource: &Dhis2Instance) -> Option<Refusal> {
        let all: Vec<_> = self.scopes.iter().flat_map(Store::state).collect();
        addresses::taken(resource, all.iter().filter_map(|resource| resource.0.as_ref().ok()))
    }

    /// Those of a scope that were told to wait for an address and wait for it no longer, or for somebody else: after any change,
    /// since only another resource's change ends their wait.
    pub fn freed(self: Arc<Self>, scope: Resources) -> impl Stream<Item = Key> {
        let changes = stream::unfold(self.changes.subscribe(), async |mut changes| {
            changes.changed().await.ok()?;
            Some(((), changes))
        });
        changes.flat_map(move |()| {
            let all = scope.state();
            let waiting = all.iter().filter_map(|resource| resource.0.as_ref().ok());
            let freed = waiting.filter(|resource| {
                told(resource).is_some_and(|told| self.taken(resource).is_none_or(|now| !told.starts_with(&now.message)))
            });
            stream::iter(freed.map(key_of).collect::<Vec<_>>())
        })
    }
}

/// What a resource that waits for an address was told; the page to read stands at its end.
fn told(resource: &Dhis2Instance) -> Option<&str> {
    let mut conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let conflict = conditions.find(|condition| condition.type_ == "Exposed" && condition.reason == Reason::HostConflict.as_str())?;
    Some(&conflict.message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn resource(name: &str, created: u8, told: Option<&str>) -> DeserializeGuard<Dhis2Instance> {
        let exposed = told.map(|message| {
            json!({"type": "Exposed", "status": "False", "reason": "HostConflict", "message": message, "lastTransitionTime": "2026-11-25T12:00:00Z"})
        });
        serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
            "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": format!("2026-11-25T12:00:0{created}Z")},
            "spec": {"version": "2.42.4", "web": {"host": "h.org"}},
            "status": {"conditions": exposed.into_iter().collect::<Vec<_>>()}
        }))
        .unwrap()
    }

    #[test]
    fn whoever_waits_is_looked_at_when_somebody_else_is_in_the_way_or_nobody() {
        let (store, mut writer) = reflector::store();
        let fleet = Arc::new(Fleet::new(vec![store.clone()]));
        let mut freed = pin!(fleet.clone().freed(store));
        let mut after = |event| {
            writer.apply_watcher_event(&event);
            fleet.changed();
            freed.next().now_or_never().flatten().map(|key| key.name)
        };
        assert_eq!(after(Event::Apply(resource("first", 1, None))), None);
        let late = resource("late", 3, None);
        let told = fleet.taken(late.0.as_ref().unwrap()).unwrap().message + " See docs/runbooks/HostConflict.md";
        assert_eq!(after(Event::Apply(resource("late", 3, Some(&told)))), None);
        assert_eq!(after(Event::Apply(resource("second", 2, None))), None, "the first one is still in the way");
        assert_eq!(after(Event::Delete(resource("first", 1, None))).as_deref(), Some("late"), "it is told of the second one");
        assert_eq!(after(Event::Delete(resource("second", 2, None))).as_deref(), Some("late"), "the address is free");
    }
}
