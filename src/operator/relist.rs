//! Watches that are checked by the clock: where one has not told everything it begins anew, with a list. And at once where a watch can't
//! be resumed, since its place in what happened is no longer known or its kind is not served any more.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures::{Stream, StreamExt, future::BoxFuture, stream};
use kube::runtime::watcher::{self, Event};
use tokio::time::{Instant, sleep_until};

use super::telemetry;

/// Whether a watch has missed something.
pub type Check = BoxFuture<'static, Result<bool, kube::Error>>;

/// A check that failed is tried again so soon.
const AGAIN: Duration = Duration::from_mins(1);

/// How often a watch is checked.
#[derive(Clone, Debug)]
pub struct Relist {
    /// So often.
    pub every: Duration,
    /// Name of the watch.
    pub watch: String,
}

impl Relist {
    /// The first time comes early, at another moment for each watch: they must not all be checked at once.
    fn first(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.watch.hash(&mut hasher);
        // Half of the time or more, in a thousand steps.
        let step = u32::try_from(hasher.finish() % 1000).unwrap_or_default();
        self.every / 2 + self.every / 2000 * step
    }

    /// The events of one watch after the other. A pause after errors is the business of whoever polls.
    pub fn of<K, W>(
        self,
        begin: impl Fn() -> W + Send + 'static,
        check: impl Fn() -> Check + Send + 'static,
    ) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
    where
        K: Send + 'static,
        W: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    {
        let begin = move || begin().boxed();
        let state = State { watch: begin(), due: Instant::now() + self.first(), checking: None };
        stream::unfold((state, begin, check, self), |(mut state, begin, check, this)| {
            let every = this.every;
            async move {
                let event = loop {
                    tokio::select! {
                        biased;
                        event = state.watch.next() => break event?,
                        () = sleep_until(state.due), if state.checking.is_none() => state.checking = Some(check()),
                        missed = over(&mut state.checking), if state.checking.is_some() => {
                            state.checking = None;
                            if let Err(error) = &missed {
                                tracing::warn!(watch = this.watch, error = telemetry::chain(error), "check what the watch told");
                            }
                            let wait = if missed.as_ref().is_err_and(passes) { AGAIN.min(every) } else { every };
                            state.due = Instant::now() + wait;
                            if missed.as_ref().map_or_else(|error| !passes(error), |missed| *missed) {
                                state.watch = begin();
                            }
                        }
                    }
                };
                if event.as_ref().is_err_and(has_lost_its_place) {
                    state = State { watch: begin(), due: Instant::now() + every, checking: None };
                }
                Some((event, (state, begin, check, this)))
            }
        })
    }
}

/// A watch, and when it is checked.
struct State<W> {
    watch: W,
    due: Instant,
    checking: Option<Check>,
}

async fn over(check: &mut Option<Check>) -> Result<bool, kube::Error> {
    match check {
        Some(check) => check.await,
        None => std::future::pending().await,
    }
}

/// Does what refused a check pass by itself? A right or a kind that is missing does not, and an answer that can't be read: a list that
/// begins anew tells of it, or does without.
fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => !matches!(status.code, 403 | 404),
        kube::Error::SerdeError(_) => false,
        _ => true,
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

    use futures::FutureExt;
    use kube::core::Status;

    use super::*;

    fn relist(watch: &str) -> Relist {
        Relist { every: Duration::from_hours(1), watch: watch.to_owned() }
    }

    fn refused(code: u16) -> watcher::Error {
        watcher::Error::WatchStartFailed(kube::Error::Api(Status::failure("", "").with_code(code).boxed()))
    }

    /// When a watch begins that is checked with these answers, and tells nothing after its beginning.
    async fn begins(answers: Vec<Result<bool, kube::Error>>, times: usize) -> Vec<Duration> {
        let begun = Instant::now();
        let answers = std::sync::Mutex::new(answers.into_iter());
        let check = move || {
            let answer = answers.lock().unwrap().next();
            async { answer.unwrap_or(Ok(true)) }.boxed()
        };
        let watch = relist("Pod").of(|| stream::iter([Ok(Event::<()>::Init)]).chain(stream::pending()), check);
        watch.take(times).map(|_| begun.elapsed()).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_missed_something_begins_anew() {
        let (first, hour) = (relist("Pod").first(), Duration::from_hours(1));
        assert_eq!(begins(vec![Ok(true), Ok(true)], 3).await, [Duration::ZERO, first, first + hour]);
        assert_eq!(begins(vec![Ok(false), Ok(true)], 2).await, [Duration::ZERO, first + hour], "nothing was missed at first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_fails_is_tried_again_or_told() {
        let error = |code| kube::Error::Api(Status::failure("", "").with_code(code).boxed());
        let first = relist("Pod").first();
        assert_eq!(begins(vec![Err(error(503)), Ok(true)], 2).await, [Duration::ZERO, first + AGAIN]);
        assert_eq!(begins(vec![Err(error(403))], 2).await, [Duration::ZERO, first], "the list that follows tells which right is missing");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_watch_tells_is_heard_during_its_check() {
        let slow = || {
            async {
                tokio::time::sleep(AGAIN).await;
                Ok(false)
            }
            .boxed()
        };
        let first = relist("Pod").first();
        let watch = move || {
            let later = stream::once(tokio::time::sleep(first + AGAIN / 2)).map(|()| Ok(Event::<()>::Init));
            later.chain(stream::pending())
        };
        let start = Instant::now();
        let told: Vec<_> = relist("Pod").of(watch, slow).take(1).collect().await;
        assert!(told[0].is_ok());
        assert_eq!(start.elapsed(), first + AGAIN / 2);
    }

    #[test]
    fn watches_are_checked_at_different_moments_of_the_second_half() {
        let firsts = ["Pod", "Job", "Service", "Ingress"].map(|watch| relist(watch).first());
        let distinct: std::collections::BTreeSet<_> = firsts.into_iter().collect();
        assert_eq!(distinct.len(), firsts.len());
        assert!(firsts.iter().all(|first| (Duration::from_mins(30)..Duration::from_hours(1)).contains(first)));
    }

    #[tokio::test]
    async fn a_place_that_is_no_longer_known_is_not_tried_again() {
        for (code, times) in [(410, 2), (404, 2), (503, 1)] {
            let begun = Arc::new(AtomicUsize::new(0));
            let count = begun.clone();
            let watch = move || {
                count.fetch_add(1, Ordering::Relaxed);
                stream::iter([Err(refused(code)), Ok(Event::<()>::Init)])
            };
            let told = relist("Pod").of(watch, || async { Ok(false) }.boxed());
            assert!(told.take(1).collect::<Vec<_>>().await[0].is_err());
            assert_eq!(begun.load(Ordering::Relaxed), times, "{code}");
        }
    }
}
