//! Lets writes through one at a time, in an order that does not depend on which connection was faster, and says what is to happen
//! to each. So a run can be told "until the seventh write", and the same run again reaches the same seventh write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out and answered.
    Pass,
    /// Whoever sent it is killed before it reaches the API server.
    KillBefore,
    /// Whoever sent it is killed when it was carried out, before the answer is back.
    KillAfter,
    /// It is carried out, and the connection is cut before the answer is back.
    LoseReply,
    /// It is not carried out; this is the answer.
    Refuse(Refusal),
}

/// An answer that the API server did not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its HTTP status.
    pub code: u16,
    /// The reason that Kubernetes gives with it.
    pub reason: &'static str,
    /// Value of `Retry-After`, where there is one.
    pub retry_after: Option<u32>,
}

/// Decides what happens to a write: the one of this number, from 1, with this description.
pub type Script = Box<dyn FnMut(usize, &str) -> Fate + Send>;

/// The gate of one proxy. Clones share one state.
#[derive(Clone)]
pub struct Gate {
    state: Arc<Mutex<State>>,
    arrivals: mpsc::UnboundedSender<Arrival>,
    hit: Arc<Notify>,
}

struct State {
    script: Script,
    /// Descriptions of the writes that were let through or met their fate, in their order.
    seen: Vec<String>,
    /// Whether one of them did not just pass.
    met: bool,
    /// When the last one was.
    last: Instant,
    /// Nobody is let through: whoever sends is about to be killed.
    closed: bool,
    /// Connections of an earlier generation belong to a process that was killed.
    generation: u64,
}

/// A write that waits.
struct Arrival {
    what: String,
    generation: u64,
    grant: oneshot::Sender<Granted>,
}

/// The right to be the one write under way. Dropped, it lets the next one through.
pub struct Granted {
    /// What happens to it.
    pub fate: Fate,
    _done: oneshot::Sender<()>,
}

/// Writes that are sent at once arrive within this time: those that an operator sends side by side are put in one order.
const GATHER: Duration = Duration::from_millis(10);

impl Gate {
    /// One that lets everything pass.
    pub fn open() -> Self {
        let (arrivals, taken) = mpsc::unbounded_channel();
        let state = State { script: pass(), seen: Vec::new(), met: false, last: Instant::now(), closed: false, generation: 0 };
        let gate = Self { state: Arc::new(Mutex::new(state)), arrivals, hit: Arc::new(Notify::new()) };
        tokio::spawn(gate.clone().keep(taken));
        gate
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count anew, with this script.
    pub fn play(&self, script: Script) {
        let mut state = self.lock();
        state.script = script;
        state.seen.clear();
        state.met = false;
    }

    /// The writes since then.
    pub fn seen(&self) -> Vec<String> {
        self.lock().seen.clone()
    }

    /// Whether the script had anything happen to one of them.
    pub fn met(&self) -> bool {
        self.lock().met
    }

    /// How long there has been none.
    pub fn quiet_for(&self) -> Duration {
        self.lock().last.elapsed()
    }

    /// Comes back when the script has asked for a kill; until [`Gate::revive`] nobody is let through.
    pub async fn killed(&self) {
        self.hit.notified().await;
    }

    /// Lets through what new connections bring; the rest of the script is that everything passes.
    pub fn revive(&self) {
        let mut state = self.lock();
        state.script = pass();
        state.closed = false;
        state.generation += 1;
    }

    /// The generation of a connection that is made now.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Waits for a write's turn. None: it will never come, since its sender is dead.
    pub async fn pass(&self, what: String, generation: u64) -> Option<Granted> {
        let (grant, granted) = oneshot::channel();
        self.arrivals.send(Arrival { what, generation, grant }).ok()?;
        granted.await.ok()
    }

    async fn keep(self, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
        let mut waiting: Vec<Arrival> = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = arrivals.recv().await else { return };
                waiting.push(first);
                tokio::time::sleep(GATHER).await;
            }
            while let Ok(more) = arrivals.try_recv() {
                waiting.push(more);
            }
            waiting.sort_by(|a, b| b.what.cmp(&a.what));
            let Some(next) = waiting.pop() else { continue };
            if let Some(done) = self.let_through(next) {
                // Ends with an error when the write is over: that is all that is to be known.
                let _ = done.await;
            }
        }
    }

    /// Lets one write through, unless its sender is dead. What comes back ends with it.
    fn let_through(&self, arrival: Arrival) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        if state.closed || arrival.generation != state.generation || arrival.grant.is_closed() {
            return None;
        }
        let number = state.seen.len() + 1;
        let fate = (state.script)(number, &arrival.what);
        state.seen.push(arrival.what);
        state.last = Instant::now();
        state.met |= fate != Fate::Pass;
        state.closed = matches!(fate, Fate::KillBefore | Fate::KillAfter);
        let (done, over) = oneshot::channel();
        arrival.grant.send(Granted { fate, _done: done }).ok()?;
        Some(over)
    }

    /// Has the sender killed: called when its write is where it should be.
    pub fn strike(&self) {
        self.hit.notify_one();
    }
}

fn pass() -> Script {
    Box::new(|_, _| Fate::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_of_one_moment_have_one_order_and_pass_one_by_one() {
        let gate = Gate::open();
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass("POST b".into(), 0).await.map(|granted| granted.fate.clone()) }
        });
        let first = gate.pass("POST a".into(), 0).await.unwrap();
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.await.unwrap(), Some(Fate::Pass));
        assert_eq!(gate.seen(), ["POST a", "POST b"]);
    }

    #[tokio::test]
    async fn nothing_passes_between_a_kill_and_the_next_life() {
        let gate = Gate::open();
        gate.play(Box::new(|number, _| if number == 1 { Fate::KillBefore } else { Fate::Pass }));
        let struck = gate.pass("POST a".into(), 0).await.unwrap();
        assert_eq!(struck.fate, Fate::KillBefore);
        drop(struck);
        assert!(gate.pass("POST b".into(), 0).await.is_none());
        gate.revive();
        assert!(gate.pass("POST b".into(), 0).await.is_none(), "it was sent by a dead process");
        assert!(gate.pass("POST c".into(), gate.generation()).await.is_some());
        assert_eq!(gate.seen(), ["POST a", "POST c"]);
    }
}
