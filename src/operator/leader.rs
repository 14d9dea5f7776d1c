//! Leader election by a Lease, so that two replicas may run and only one works.
//!
//! Time is measured on this process' own monotonic clock, never read from the Lease: clocks of nodes may differ. A leader counts itself as
//! one for two thirds of the Lease's time after the moment it *sent* its last renewal; others take over when they saw the Lease unchanged
//! for all of it. Between the two lies a third of the time in which nobody writes: a write that was sent while
//! [`Leadership::still_leading`] must not take longer than that.
use std::{convert::Infallible, pin::pin, time::Duration};

use futures::StreamExt;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{PostParams, WatchParams},
    core::WatchEvent,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{serve::Readiness, telemetry::chain};

/// Why an attempt at the Lease failed; it is made again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read the Lease")]
    Read(#[source] kube::Error),
    #[error("write the Lease")]
    Write(#[source] kube::Error),
    #[error("watch the Lease")]
    Watch(#[source] kube::Error),
    #[error("no answer about the Lease in time")]
    Silence,
}

/// Whether this replica leads, and until when it may count on it. Clones share one state.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// One that nobody contests.
    #[cfg(test)]
    pub fn uncontested() -> Self {
        Self::until_told().1
    }

    /// One that lasts until None is sent.
    #[cfg(test)]
    pub fn until_told() -> (watch::Sender<Option<Instant>>, Self) {
        let (term, leadership) = watch::channel(Some(Instant::now() + Duration::from_hours(1)));
        (term, Self(leadership))
    }

    /// Asked before each write: true while no other replica can have taken over.
    pub fn still_leading(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Comes back once this replica leads; never, when its election has ended.
    pub async fn gained(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Comes back once this replica does not lead: by the clock, even when the election hangs.
    pub async fn lost(&mut self) {
        loop {
            let until = *self.0.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else {
                return;
            };
            tokio::select! {
                () = sleep_until(until) => {}
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// One replica's part in the election.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    me: String,
    ttl: Duration,
    term: watch::Sender<Option<Instant>>,
    readiness: Readiness,
}

/// What the requests of an election are for, in the words of `/readyz`.
const LEASE: &str = "Lease";

/// The Lease as last seen, and since when it has been so.
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// The Lease as we wrote it, and until when it makes us the leader.
struct Term {
    lease: Lease,
    until: Instant,
}

impl Candidate {
    /// Stands for the Lease `name` as `me` (the pod's name). `ttl` is how long others wait for a leader that fell silent.
    pub fn new(
        leases: Api<Lease>,
        name: impl Into<String>,
        me: impl Into<String>,
        ttl: Duration,
        readiness: Readiness,
    ) -> (Self, Leadership) {
        let (term, leadership) = watch::channel(None);
        (Self { leases, name: name.into(), me: me.into(), ttl, term, readiness }, Leadership(leadership))
    }

    /// Takes part until `resign`; then gives the Lease back, so that a standby, which watches it, leads at once.
    ///
    /// Cancel `resign` only when nothing writes any more.
    pub async fn run(self, resign: CancellationToken) {
        tokio::select! {
            never = self.contend() => match never {},
            () = resign.cancelled() => {}
        }
        self.term.send_replace(None);
        match self.bounded(self.give_back()).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(error = chain(&error), "could not give the Lease back; it runs out by itself"),
        }
    }

    async fn contend(&self) -> Infallible {
        loop {
            let term = self.acquire().await;
            tracing::info!(lease = self.name, "leading");
            self.keep(term).await;
            self.term.send_replace(None);
            tracing::warn!(lease = self.name, "not leading any more");
        }
    }

    /// Waits until the Lease is free, and takes it.
    async fn acquire(&self) -> Term {
        let mut seen = Seen { spec: LeaseSpec::default(), since: Instant::now() };
        loop {
            let tried = match self.attempt(&mut seen).await {
                Ok(Attempt::Held(term)) => return term,
                Ok(Attempt::Other(lease)) => self.stand_by(&lease, &mut seen).await,
                Ok(Attempt::Beaten) => Ok(false),
                Err(error) => Err(error),
            };
            match tried {
                Ok(true) => {}
                Ok(false) => sleep(self.pause()).await,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "stands by and could not look at the Lease");
                    self.readiness.failed(LEASE, &error);
                    sleep(self.pause()).await;
                }
            }
        }
    }

    /// Renews until somebody else has the Lease or the time is over.
    async fn keep(&self, mut term: Term) {
        let mut next = Instant::now() + self.ttl / 3;
        while Instant::now() < term.until {
            sleep_until(next.min(term.until)).await;
            let began = Instant::now();
            match timeout_at(term.until, self.renew(&term.lease)).await {
                Ok(Ok(Some(renewed))) => {
                    term = renewed;
                    next = began + self.ttl / 3;
                }
                Ok(Ok(None)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "could not renew the Lease");
                    self.readiness.failed(LEASE, &error);
                    next = Instant::now() + self.pause();
                }
                Err(_elapsed) => {}
            }
        }
    }

    /// One request in the common case. When somebody wrote the Lease meanwhile, it is read again: a label put on it is no loss of it.
    async fn renew(&self, lease: &Lease) -> Result<Option<Term>, Error> {
        let old = lease.spec.clone().unwrap_or_default();
        let mut seen = Seen { spec: old, since: Instant::now() };
        if let Some(spec) = claim(&seen.spec, &self.me, self.ttl, Duration::ZERO, Timestamp::now())
            && let Some(term) = self.write(Some(lease.clone()), spec).await?
        {
            return Ok(Some(term));
        }
        match self.attempt(&mut seen).await? {
            Attempt::Held(term) => Ok(Some(term)),
            Attempt::Other(_) | Attempt::Beaten => Ok(None),
        }
    }

    /// Reads the Lease and takes it when it may be taken.
    async fn attempt(&self, seen: &mut Seen) -> Result<Attempt, Error> {
        let found = self.bounded(async { self.leases.get_opt(&self.name).await.map_err(Error::Read) }).await?;
        seen.note(found.as_ref().and_then(|lease| lease.spec.clone()));
        match (claim(&seen.spec, &self.me, self.ttl, seen.since.elapsed(), Timestamp::now()), found) {
            (Some(spec), found) => Ok(self.write(found, spec).await?.map_or(Attempt::Beaten, Attempt::Held)),
            (None, Some(lease)) => Ok(Attempt::Other(lease)),
            (None, None) => Ok(Attempt::Beaten),
        }
    }

    /// Writes with the resourceVersion that was read: of two who claim, one succeeds. None: somebody wrote first.
    async fn write(&self, old: Option<Lease>, spec: LeaseSpec) -> Result<Option<Term>, Error> {
        let until = Instant::now() + self.ttl * 2 / 3;
        let spec = Some(spec);
        let params = PostParams::default();
        let written = self.bounded(async {
            let answer = if let Some(lease) = old {
                let lease = Lease { spec, ..lease };
                self.leases.replace(&self.name, &params, &lease).await
            } else {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                self.leases.create(&params, &Lease { metadata, spec }).await
            };
            answer.map_err(Error::Write)
        });
        match written.await {
            Ok(lease) => {
                self.readiness.granted(LEASE);
                self.term.send_replace(Some(until));
                Ok(Some(Term { lease, until }))
            }
            Err(Error::Write(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Watches somebody else's Lease. True once it may be claimed; false when the watch ended and the Lease has to be read again.
    async fn stand_by(&self, lease: &Lease, seen: &mut Seen) -> Result<bool, Error> {
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let version = lease.resource_version().unwrap_or_default();
        let opened = async { self.leases.watch(&params, &version).await.map_err(Error::Watch) };
        let mut events = pin!(self.bounded(opened).await?);
        self.readiness.granted(LEASE);
        while !seen.free() {
            match timeout_at(seen.expiry(), events.next()).await {
                Ok(Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease)))) => {
                    seen.note(lease.spec);
                }
                Ok(Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_)))) => {}
                Err(_expired) => return Ok(true),
                Ok(Some(Ok(WatchEvent::Error(status)))) => {
                    return Err(Error::Watch(kube::Error::Api(status)));
                }
                Ok(Some(Err(error))) => return Err(Error::Watch(error)),
                Ok(None) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn give_back(&self) -> Result<(), Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await.map_err(Error::Read)? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.me.as_str()) {
            spec.holder_identity = None;
            self.leases.replace(&self.name, &PostParams::default(), &lease).await.map_err(Error::Write)?;
        }
        Ok(())
    }

    /// A request gets a fifth of the Lease's time: a renewal that hangs leaves time for a second one before the term ends.
    async fn bounded<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.ttl / 5, request).await.unwrap_or(Err(Error::Silence))
    }

    fn pause(&self) -> Duration {
        self.ttl / 15
    }
}

enum Attempt {
    Held(Term),
    Other(Lease),
    Beaten,
}

impl Seen {
    /// A Lease that was deleted still binds us for its time: its holder may not know yet.
    fn note(&mut self, spec: Option<LeaseSpec>) {
        if let Some(spec) = spec.filter(|spec| self.spec != *spec) {
            *self = Self { spec, since: Instant::now() };
        }
    }

    fn free(&self) -> bool {
        holder(&self.spec).is_empty()
    }

    fn expiry(&self) -> Instant {
        self.since + validity(&self.spec)
    }
}

fn holder(spec: &LeaseSpec) -> &str {
    spec.holder_identity.as_deref().unwrap_or_default()
}

fn validity(spec: &LeaseSpec) -> Duration {
    Duration::from_secs(spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0))
}

/// Pure: what to write so that `me` leads; None while somebody else validly holds the Lease, which was seen `unchanged` for that long.
fn claim(old: &LeaseSpec, me: &str, ttl: Duration, unchanged: Duration, now: Timestamp) -> Option<LeaseSpec> {
    let mine = holder(old) == me;
    let expired = unchanged >= validity(old);
    (mine || holder(old).is_empty() || expired).then(|| LeaseSpec {
        holder_identity: Some(me.into()),
        lease_duration_seconds: Some(i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX)),
        renew_time: Some(MicroTime(now)),
        acquire_time: if mine { old.acquire_time.clone() } else { Some(MicroTime(now)) },
        lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!mine)),
        ..LeaseSpec::default()
    })
}

#[cfg(test)]
mod tests;
