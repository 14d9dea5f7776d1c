//! How far a restore is, told while it goes on: whoever waits for hours has to see that it moves.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::Volume;
use crate::agent::log::Log;
use crate::agent::volume;

/// How often it is told.
const EVERY: Duration = Duration::from_mins(1);

/// Tells until it is dropped.
pub struct Progress {
    _until: Sender<()>,
}

impl Progress {
    /// Tells what was written to `volume` since, of about so many bytes.
    pub fn of(volume: &Volume, about: u64, log: Log) -> Self {
        let (root, name) = (volume.root.clone(), volume.name);
        let free = move || volume::space(&root).ok().map(|space| space.free);
        let before = free().unwrap_or_default();
        Self::tell(EVERY, move || {
            if let Some(now) = free() {
                log.info(&format!("{} of about {about} bytes are on {name}", before.saturating_sub(now)));
            }
        })
    }

    fn tell(every: Duration, tell: impl Fn() + Send + 'static) -> Self {
        let (until, end) = mpsc::channel();
        thread::spawn(move || {
            while end.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        });
        Self { _until: until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_again_and_again_until_the_end() {
        let (heard, told) = mpsc::channel();
        let progress = Progress::tell(Duration::from_millis(1), move || _ = heard.send(()));
        for _ in 0..3 {
            told.recv().unwrap();
        }
        drop(progress);
        assert!(told.iter().count() < 100, "it ends");
    }
}
