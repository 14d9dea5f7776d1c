//! One look at a time: what it looks at may hang where no signal reaches, and a second look would hang beside the first.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::Error;

/// Looks from a thread of its own.
pub struct Look {
    asks: Sender<()>,
    answers: Receiver<Result<(), Error>>,
    hangs: Box<dyn Fn() -> Error + Send>,
    pending: bool,
}

impl Look {
    /// Looks with `look`; says `hangs` when it takes too long.
    pub fn new(look: impl Fn() -> Result<(), Error> + Send + 'static, hangs: impl Fn() -> Error + Send + 'static) -> Self {
        let (asks, asked) = channel();
        let (answer, answers) = channel();
        std::thread::spawn(move || while asked.recv().is_ok() && answer.send(look()).is_ok() {});
        Self { asks, answers, hangs: Box::new(hangs), pending: false }
    }

    /// The answer, or that there is none within `patience`.
    pub fn ask(&mut self, patience: Duration) -> Result<(), Error> {
        if !self.pending {
            // The thread ends with this value, never before.
            let _ = self.asks.send(());
            self.pending = true;
        }
        match self.answers.recv_timeout(patience) {
            Ok(answer) => {
                self.pending = false;
                answer
            }
            Err(_) => Err((self.hangs)()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::watch::files;

    #[test]
    fn what_hangs_is_told_and_waited_for() {
        let look = || {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        };
        let mut look = Look::new(look, || files::Error::Hangs.into());
        assert!(look.ask(Duration::from_millis(20)).is_err());
        assert!(look.ask(Duration::from_secs(10)).is_ok());
    }
}
