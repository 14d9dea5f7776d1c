//! Memory that behaves like a Java heap: it grows with what requests leave behind until it is collected, is never given
//! back to the system, and refuses beyond `-Xmx`. The pages are really touched, so that a container's limit is felt.

use std::sync::{Arc, Mutex, PoisonError};

const CHUNK: u64 = 1 << 20;
const PAGE: usize = 4096;
/// What `OpenJDK` ends with then.
const OUT_OF_HEAP: i32 = 3;

/// The heap of the process.
#[derive(Clone)]
pub struct Heap {
    state: Arc<Mutex<State>>,
    exits: bool,
}

struct State {
    max: u64,
    live: u64,
    garbage: u64,
    committed: Vec<Box<[u8]>>,
}

/// `java.lang.OutOfMemoryError`.
#[derive(Debug, thiserror::Error)]
#[error("java.lang.OutOfMemoryError: Java heap space")]
pub struct OutOfMemory;

/// Memory in use; it becomes garbage when dropped.
pub struct Held {
    heap: Heap,
    bytes: u64,
}

impl Heap {
    /// An empty heap that may grow to `max` bytes; `exits`: the JVM ends when it is used up (`-XX:+ExitOnOutOfMemoryError`).
    pub fn new(max: u64, exits: bool) -> Self {
        Self { state: Arc::new(Mutex::new(State { max, live: 0, garbage: 0, committed: Vec::new() })), exits }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// When they do not fit, even after a collection.
    pub fn hold(&self, bytes: u64) -> Result<Held, OutOfMemory> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A young generation of a quarter: garbage beyond it is collected.
        if state.live + state.garbage + bytes > state.max || state.garbage > state.max / 4 {
            state.garbage = 0;
        }
        if state.live + bytes > state.max {
            if self.exits {
                eprintln!("Terminating due to java.lang.OutOfMemoryError: Java heap space");
                std::process::exit(OUT_OF_HEAP);
            }
            return Err(OutOfMemory);
        }
        state.live += bytes;
        let wanted = (state.live + state.garbage).div_ceil(CHUNK);
        while u64::try_from(state.committed.len()).unwrap_or(u64::MAX) < wanted {
            state.committed.push(touched());
        }
        Ok(Held { heap: self.clone(), bytes })
    }

    /// Bytes in use, bytes taken from the system, and the limit.
    pub fn figures(&self) -> (u64, u64, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = u64::try_from(state.committed.len()).unwrap_or(u64::MAX) * CHUNK;
        (state.live + state.garbage, committed, state.max)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.heap.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.live -= self.bytes;
        state.garbage += self.bytes;
    }
}

/// A chunk whose pages are resident.
fn touched() -> Box<[u8]> {
    let mut chunk = vec![0_u8; 1 << 20].into_boxed_slice();
    for byte in chunk.iter_mut().step_by(PAGE) {
        *byte = 1;
    }
    std::hint::black_box(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(heap: &Heap) -> u64 {
        heap.figures().1 / CHUNK
    }

    #[test]
    fn garbage_is_collected_and_the_limit_holds() {
        let heap = Heap::new(40 * CHUNK, false);
        let base = heap.hold(20 * CHUNK).unwrap();
        for _ in 0..100 {
            heap.hold(CHUNK).unwrap();
        }
        assert!((21..=32).contains(&committed(&heap)), "{}", committed(&heap));
        let more = heap.hold(20 * CHUNK).unwrap();
        assert!(heap.hold(CHUNK).is_err());
        drop(more);
        heap.hold(CHUNK).unwrap();
        assert_eq!(committed(&heap), 40, "a JVM gives nothing back");
        drop(base);
    }
}
