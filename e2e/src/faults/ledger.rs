//! Everything that happens to the objects of a namespace, as the API server tells it: what is there, and what was there on the way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::operator::kind::Kind;
use futures::StreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::site::Outcome;

/// The resource itself.
pub const INSTANCE: &str = "Dhis2Instance";
/// What is told about it.
pub const EVENT: &str = "Event";

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Made,
    /// It was changed.
    Changed,
    /// It is gone.
    Gone,
}

/// Objects by kind and name.
pub type Present = BTreeMap<(&'static str, String), Arc<DynamicObject>>;

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was heard of.
    pub at: Instant,
    /// The object's kind.
    pub kind: &'static str,
    /// What happened to it.
    pub change: Change,
    /// The object after it, or its last state.
    pub object: Arc<DynamicObject>,
}

/// What is known of a namespace.
struct Book {
    records: Vec<Record>,
    present: Present,
    /// Of everything that was ever there.
    uids: HashSet<String>,
    /// When something happened last to anything but events.
    last: Instant,
    /// Told of every record.
    heard: watch::Sender<()>,
}

type Books = HashMap<String, Book>;

/// The records of the namespaces that are looked at.
#[derive(Clone)]
pub struct Ledger {
    books: Arc<Mutex<Books>>,
    _watches: Arc<JoinSet<()>>,
}

/// The kinds that are watched: those of the operator's children, the resource, and events.
fn kinds() -> Vec<(&'static str, ApiResource)> {
    use strum::IntoEnumIterator;
    let children = Kind::iter().map(|kind| (kind.name(), kind.resource()));
    children.chain([(INSTANCE, ApiResource::erase::<Dhis2Instance>(&())), (EVENT, ApiResource::erase::<Event>(&()))]).collect()
}

/// Watches these kinds in all namespaces, and hands on each object that is there or has changed, or, with `true`, is gone.
pub fn follow(
    client: &Client,
    kinds: Vec<(&'static str, ApiResource)>,
    tell: impl Fn(&'static str, DynamicObject, bool) + Clone + Send + 'static,
) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for (kind, resource) in kinds {
        let (api, tell) = (Api::<DynamicObject>::all_with(client.clone(), &resource), tell.clone());
        watches.spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => tell(kind, object, false),
                    Ok(watcher::Event::Delete(object)) => tell(kind, object, true),
                    // A watch that broke is resumed by the next poll.
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
                }
            }
        });
    }
    watches
}

impl Ledger {
    /// Watches all namespaces. What comes is also sent to `listener`.
    pub fn keep(client: &Client, listener: &mpsc::UnboundedSender<Record>) -> Self {
        let books = Arc::new(Mutex::new(Books::new()));
        let (entered, listener) = (Arc::clone(&books), listener.clone());
        let watches = follow(client, kinds(), move |kind, object, gone| {
            if let Some(record) = enter(&entered, kind, object, gone) {
                let _ = listener.send(record);
            }
        });
        Self { books, _watches: Arc::new(watches) }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record what happens in a namespace.
    pub fn open(&self, namespace: &str) {
        let book = Book {
            records: Vec::new(),
            present: Present::new(),
            uids: HashSet::new(),
            last: Instant::now(),
            heard: watch::Sender::new(()),
        };
        self.lock().insert(namespace.to_owned(), book);
    }

    /// Forgets what happened there.
    pub fn close(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    /// Waits until this holds, which only what happens in the namespace can bring about. Says whether it did in time.
    pub async fn until(&self, namespace: &str, limit: Duration, holds: impl Fn() -> bool) -> bool {
        let Some(mut heard) = self.lock().get(namespace).map(|book| book.heard.subscribe()) else { return holds() };
        let told = async { while !holds() && heard.changed().await.is_ok() {} };
        tokio::time::timeout(limit, told).await.is_ok() && holds()
    }

    /// What happened in a namespace.
    pub fn records(&self, namespace: &str) -> Vec<Record> {
        self.lock().get(namespace).map(|book| book.records.clone()).unwrap_or_default()
    }

    /// How many records there are.
    pub fn length(&self, namespace: &str) -> usize {
        self.lock().get(namespace).map_or(0, |book| book.records.len())
    }

    /// What is there now.
    pub fn present(&self, namespace: &str) -> Present {
        self.lock().get(namespace).map(|book| book.present.clone()).unwrap_or_default()
    }

    /// One object, if it is there.
    pub fn object(&self, namespace: &str, kind: &'static str, name: &str) -> Option<Arc<DynamicObject>> {
        self.lock().get(namespace)?.present.get(&(kind, name.to_owned())).cloned()
    }

    /// Waits until all that is there was told: each kind has a watch of its own, and on a busy machine some are seconds behind.
    ///
    /// # Errors
    /// When the API server does not tell, or the watches do not.
    pub async fn catch_up(&self, client: &Client, namespace: &str, limit: Duration) -> Outcome {
        for (kind, resource) in kinds().into_iter().filter(|(kind, _)| *kind != EVENT) {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            for there in api.list_metadata(&ListParams::default()).await? {
                let (name, uid) = (there.name_any(), there.uid());
                let told = || self.object(namespace, kind, &name).is_some_and(|object| object.uid() == uid);
                if !self.until(namespace, limit, told).await {
                    return Err(format!("no watch has told of {kind} {name}").into());
                }
            }
        }
        Ok(())
    }

    /// How long nothing has happened to anything but events.
    pub fn quiet_for(&self, namespace: &str) -> Duration {
        self.lock().get(namespace).map_or(Duration::MAX, |book| book.last.elapsed())
    }
}

fn enter(books: &Mutex<Books>, kind: &'static str, object: DynamicObject, gone: bool) -> Option<Record> {
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    let book = books.get_mut(&object.namespace()?)?;
    let (key, new) = ((kind, object.name_any()), book.uids.insert(object.uid()?));
    let object = Arc::new(object);
    let change = match (gone, new) {
        (true, _) => Change::Gone,
        (false, false) => Change::Changed,
        (false, true) => Change::Made,
    };
    // The watch of a kind tells everything in its order: what goes is what was there.
    if gone {
        book.present.remove(&key);
    } else {
        book.present.insert(key, Arc::clone(&object));
    }
    let record = Record { at: Instant::now(), kind, change, object };
    if kind != EVENT {
        book.last = record.at;
    }
    book.records.push(record.clone());
    book.heard.send_replace(());
    Some(record)
}
