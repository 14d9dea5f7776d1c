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
            let freed =
                waiting.filter(|resource| told(resource).is_some_and(|told| self.taken(resource).is_none_or(|now| now.message != told)));
            stream::iter(freed.map(key_of).collect::<Vec<_>>())
        })
    }
}

/// What a resource that waits for an address was told.
fn told(resource: &Dhis2Instance) -> Option<&str> {
    let mut conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let conflict = conditions.find(|condition| condition.type_ == "Exposed" && condition.reason == Reason::HostConflict.as_str())?;
    Some(&conflict.message)
}
