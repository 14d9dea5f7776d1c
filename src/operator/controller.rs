//! The watches and the queue of one scope (the whole cluster, or one namespace), and the passes that they ask for.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt};
use kube::{
    Api, Resource as _, ResourceExt,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        controller::{self, Config, applier},
        reflector::{self, ObjectRef, store::Writer},
        watcher,
    },
};
use strum::IntoEnumIterator;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    arrived::Arrived,
    backlog::Backlog,
    fleet::Resources,
    kind::Kind,
    missed,
    queue::Queue,
    reconcile::{Context, error_policy, reconcile},
    relist::Relist,
    serve::Readiness,
    tell::{REFUSED, tell_without_instance},
    watch::{self, Arrival, Heard, PAGE, Progress, RESOURCE},
    world::Key,
};
/// Names of the watches of a scope, which readiness waits for.
pub fn watches(namespace: Option<&str>) -> Vec<String> {
    Kind::iter().filter(|kind| kind.watched()).map(Kind::name).chain([RESOURCE]).map(|kind| watch_name(kind, namespace)).collect()
}

/// What shapes other objects is known before those are compared: the size of a volume, and whose Job is at work.
pub const FIRST: [Kind; 4] = [Kind::PersistentVolumeClaim, Kind::Dhis2Restore, Kind::Dhis2Backup, Kind::Dhis2RestoreTest];

fn watch_name(kind: &str, namespace: Option<&str>) -> String {
    namespace.map_or_else(|| kind.to_owned(), |namespace| format!("{kind} in {namespace}"))
}

/// What a controller looks after.
pub struct Scope {
    /// Its place in the fleet.
    pub number: usize,
    /// The namespace; none for all.
    pub namespace: Option<String>,
    /// Its resources.
    pub resources: Resources,
    /// What fills them.
    pub writer: Writer<Arrived>,
}

/// How fast a controller goes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many instances are worked on at a time.
    pub concurrency: u16,
    /// So often it is checked that the watches told everything.
    pub relist: Duration,
}

/// Works until `drain`: then nothing new is begun, and what is under way is finished.
pub async fn control(context: Arc<Context>, scope: Scope, pace: Pace, readiness: Readiness, drain: CancellationToken) {
    let Scope { number, namespace, resources: store, writer } = scope;
    let client = context.client.clone();
    let queue = Arc::new(Queue::new(pace.concurrency));
    let api: Api<Arrived> = match &namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let relist = |kind| Relist { every: pace.relist, watch: watch_name(kind, namespace.as_deref()) };
    let begin = move || watcher(api.clone(), watcher::Config::default().page_size(PAGE));
    let check = {
        let (client, namespace, store) = (client.clone(), namespace.clone(), store.clone());
        move || {
            let (client, namespace, store) = (client.clone(), namespace.clone(), store.clone());
            async move { missed::resources(&client, namespace.as_deref(), &store).await }.boxed()
        }
    };
    let stream = relist(RESOURCE).of(begin, check).default_backoff().modify(|resource| {
        // Neither is used, and they are most of an object's memory.
        resource.meta_mut().managed_fields = None;
        resource.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
    });
    let reflected = reflector::reflector(writer, stream);
    let metrics = context.metrics.clone();
    let progress =
        |kind| Progress { readiness: readiness.clone(), metrics: metrics.clone(), kind, watch: watch_name(kind, namespace.as_deref()) };
    let mut tasks = JoinSet::new();
    let backlog = metrics.backlog.clone();
    let asks = Asks { queue: queue.clone(), backlog: backlog.clone() };
    let (hearing, forgetful) = (context.clone(), asks.clone());
    let hear = move |heard: Heard<'_>| {
        hearing.hear(heard);
        if let Heard::Gone(key) = heard {
            forgetful.forget(key);
            // What people made stays, and some of it waits for a word.
            if !hearing.world.children(key).is_empty() {
                forgetful.ask(key.clone());
            }
        }
    };
    tasks.spawn(forward(watch::resources(reflected, hear, progress(RESOURCE)), asks.clone()));
    tasks.spawn(forward(context.fleet.clone().freed(number), asks.clone()));
    if store.wait_until_ready().await.is_err() {
        return;
    }
    let arrival = Arrival { world: context.world.clone(), resources: store.clone(), settings: Arc::new(context.settings.clone()) };
    let children =
        |kind: Kind| watch::children(&client, kind, namespace.clone(), arrival.clone(), progress(kind.name()), relist(kind.name()));
    for kind in FIRST {
        tasks.spawn(forward(children(kind), asks.clone()));
    }
    for kind in FIRST {
        readiness.until_synced_with(&watch_name(kind.name(), namespace.as_deref())).await;
    }
    for kind in Kind::iter().filter(|kind| kind.watched() && !FIRST.contains(kind)) {
        tasks.spawn(forward(children(kind), asks.clone()));
    }
    // Deciding on half a picture could take what is there for missing.
    readiness.until_synced().await;
    let due = queue
        .clone()
        .stream()
        .map(|key| Ok::<_, std::convert::Infallible>(ObjectRef::<Arrived>::new(&key.name).within(&key.namespace)))
        .take_until(drain.cancelled_owned());
    let orphans = context.clone();
    let passes = applier(
        |resource, context| reconcile(resource, context).boxed(),
        error_policy,
        context,
        store,
        due,
        Config::default().concurrency(pace.concurrency),
    );
    passes
        .for_each(|pass| {
            match pass {
                Ok((reference, _)) => queue.done(&key_of(&reference.erase())),
                Err(controller::Error::ObjectNotFound(reference)) => {
                    backlog.begun(&key_of(&reference));
                    queue.done(&key_of(&reference));
                    let (key, context, queue) = (key_of(&reference), orphans.clone(), queue.clone());
                    // Nobody asks for another try: whoever waits is told when something changes, or at the next check of the watch.
                    tokio::spawn(async move {
                        match tell_without_instance(&key, &context).await {
                            Ok(true) => {}
                            Ok(false) => {
                                tokio::time::sleep(REFUSED).await;
                                queue.ask(key);
                            }
                            Err(error) => tracing::warn!(error = super::telemetry::chain(&error), "a request"),
                        }
                    });
                }
                Err(controller::Error::ReconcilerFailed(error, reference)) => {
                    tracing::debug!(%error, "pass");
                    queue.done(&key_of(&reference));
                }
                Err(error) => tracing::debug!(%error, "pass"),
            }
            std::future::ready(())
        })
        .await;
}

fn key_of(reference: &ObjectRef<DynamicObject>) -> Key {
    Key { namespace: reference.namespace.clone().unwrap_or_default(), name: reference.name.clone() }
}

/// Whom the watches tell that an instance needs a pass.
#[derive(Clone)]
struct Asks {
    queue: Arc<Queue>,
    backlog: Backlog,
}

impl Asks {
    fn ask(&self, key: Key) {
        self.backlog.asked(&key);
        self.queue.ask(key);
    }

    /// It is gone: there is nothing to look at.
    fn forget(&self, key: &Key) {
        self.backlog.begun(key);
        self.queue.forget(key);
    }
}

async fn forward(keys: impl Stream<Item = Key> + Send + 'static, asks: Asks) {
    let mut keys = std::pin::pin!(keys);
    while let Some(key) = keys.next().await {
        asks.ask(key);
    }
}
