//! Watches that begin anew by the clock, with a list: what none of them ever told is found then. And at once where a watch can't be
//! resumed, since its place in what happened is no longer known or its kind is not served any more.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::{self, Event};
use tokio::time::{Instant, timeout_at};

/// How often a watch begins anew.
#[derive(Clone, Debug)]
pub struct Relist {
    /// So often.
    pub every: Duration,
    /// Name of the watch.
    pub watch: String,
}

impl Relist {
    /// The first time comes early, at another moment for each watch: they must not all list at once.
    fn first(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.watch.hash(&mut hasher);
        // Half of the time or more, in a thousand steps.
        let step = u32::try_from(hasher.finish() % 1000).unwrap_or_default();
        self.every / 2 + self.every / 2000 * step
    }

    /// The events of one watch after the other. A pause after errors is the business of whoever polls.
    pub fn of<K, W>(self, begin: impl Fn() -> W + Send + 'static) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
    where
        K: Send + 'static,
        W: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    {
        let new = move |after| (begin().boxed(), Instant::now() + after);
        let (first, every) = (self.first(), self.every);
        stream::unfold((new(first), new), move |((mut watch, mut due), new)| async move {
            let event = match timeout_at(due, watch.next()).await {
                Ok(event) => event?,
                Err(_elapsed) => {
                    (watch, due) = new(every);
                    watch.next().await?
                }
            };
            if event.as_ref().is_err_and(has_lost_its_place) {
                (watch, due) = new(every);
            }
            Some((event, ((watch, due), new)))
        })
    }
}

/// The watcher itself tries the same place again and again.
fn has_lost_its_place(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 404 | 410))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use kube::core::Status;

    use super::*;

    fn relist(watch: &str) -> Relist {
        Relist { every: Duration::from_hours(1), watch: watch.to_owned() }
    }

    fn refused(code: u16) -> watcher::Error {
        watcher::Error::WatchStartFailed(kube::Error::Api(Status::failure("", "").with_code(code).boxed()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_tells_nothing_begins_anew_by_the_clock() {
        let begun = Instant::now();
        let watch = relist("Pod").of(|| stream::iter([Ok(Event::<()>::Init)]).chain(stream::pending()));
        let times: Vec<Duration> = watch.take(3).map(|_| begun.elapsed()).collect().await;
        assert_eq!(times[0], Duration::ZERO);
        assert_eq!(times[1], relist("Pod").first());
        assert_eq!(times[2], times[1] + Duration::from_hours(1));
    }

    #[test]
    fn watches_begin_anew_at_different_moments_of_the_second_half() {
        let firsts = ["Pod", "Job", "Service", "Ingress"].map(|watch| relist(watch).first());
        let distinct: std::collections::BTreeSet<_> = firsts.into_iter().collect();
        assert_eq!(distinct.len(), firsts.len());
        assert!(firsts.iter().all(|first| (Duration::from_mins(30)..Duration::from_hours(1)).contains(first)));
    }

    #[tokio::test]
    async fn a_place_that_is_no_longer_known_is_not_tried_again() {
        for (code, begins) in [(410, 2), (404, 2), (503, 1)] {
            let begun = Arc::new(AtomicUsize::new(0));
            let count = begun.clone();
            let watch = relist("Pod").of(move || {
                count.fetch_add(1, Ordering::Relaxed);
                stream::iter([Err(refused(code)), Ok(Event::<()>::Init)])
            });
            assert!(watch.take(1).collect::<Vec<_>>().await[0].is_err());
            assert_eq!(begun.load(Ordering::Relaxed), begins, "{code}");
        }
    }
}
