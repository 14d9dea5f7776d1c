//! Two replicas, each behind a proxy of its own.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dhis2_operator::operator::ask;

use super::life::{End, Life, Sample};
use crate::cluster::files;
use crate::faults::proxy::{Ends, Proxy};
use crate::rig::operator::{Operator, Start};
use crate::scale::stand::Stand;
use crate::site::Outcome;

/// As the chart has it.
const LEASE_TTL: &str = "15";

/// How long it may take until somebody leads and has seen all instances.
const LIMIT: Duration = Duration::from_mins(2);

/// How often that is asked.
const GLANCE: Duration = Duration::from_millis(200);

/// A replica: now this process, then that one.
pub struct Replica {
    pod: &'static str,
    proxy: Proxy,
    start: Start,
    living: Mutex<Option<Living>>,
    ended: Mutex<Vec<Life>>,
}

struct Living {
    operator: Operator,
    samples: Vec<Sample>,
}

/// Both.
pub struct Pair {
    replicas: [Replica; 2],
    begun: Instant,
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replica {
    async fn new(stand: &Stand, operator: &Path, ends: Ends, pod: &'static str) -> Outcome<Self> {
        let proxy = Proxy::start(ends).await?;
        let authority = files::read(&stand.rig.keys().path("ca.crt"))?;
        let kubeconfig = stand.rig.kubeconfig(stand.release(), &proxy.server(), &authority)?;
        let log = stand.rig.folder().join(format!("{pod}.log"));
        let start = Start::new(operator, stand.release(), &kubeconfig, pod, &log).with("LEASE_TTL", LEASE_TTL);
        Ok(Self { pod, proxy, start, living: Mutex::new(None), ended: Mutex::new(Vec::new()) })
    }

    fn spawn(&self) -> Outcome {
        let operator = self.start.spawn()?;
        *hold(&self.living) = Some(Living { operator, samples: Vec::new() });
        Ok(())
    }

    /// Where its probes are, if it runs.
    fn address(&self) -> Option<String> {
        hold(&self.living).as_ref().map(|living| living.operator.address().to_string())
    }

    /// Does it lead, and has it seen everything?
    async fn leads(&self) -> Outcome<bool> {
        let Some(address) = self.address() else { return Ok(false) };
        let said = tokio::task::spawn_blocking(move || ask::ready(&address)).await?;
        Ok(said.is_ok_and(|said| said.starts_with("ready: leading")))
    }

    fn bury(&self, samples: Vec<Sample>, end: End) {
        hold(&self.ended).push(Life { pod: self.pod, samples, end });
    }

    /// Looks at the process. One that has ended by itself is started again.
    async fn look(&self, begun: Instant) -> Outcome {
        let Some(address) = self.address() else { return Ok(()) };
        let said = tokio::task::spawn_blocking(move || metrics(&address)).await?;
        let mut place = hold(&self.living);
        let Some(living) = place.as_mut() else { return Ok(()) };
        if let Some(status) = living.operator.process().ended() {
            let words = format!("{status}: {}", living.operator.process().last_words());
            if let Some(Living { samples, .. }) = place.take() {
                self.bury(samples, End::ByItself(words));
            }
            drop(place);
            return self.spawn();
        }
        let usage = living.operator.usage();
        let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        let (Some(queue), Some(oldest), Some(leader)) =
            (value("dhis2_operator_queue_length"), value("dhis2_operator_queue_oldest_age_seconds"), value("dhis2_operator_leader"))
        else {
            // It starts, or was ended between the two questions.
            return Ok(());
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length")]
        let queue = queue as u32;
        let at = begun.elapsed().as_secs_f64();
        living.samples.push(Sample { at, resident: usage.resident, threads: usage.threads, leads: leader > 0.0, queue, oldest });
        Ok(())
    }
}

/// What a process says at `/metrics`; nothing, if it does not answer.
fn metrics(address: &str) -> String {
    let ask = || ureq::get(format!("http://{address}/metrics")).call()?.body_mut().read_to_string();
    ask().unwrap_or_default()
}

impl Pair {
    /// Starts both, the first one as the leader.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn start(stand: &Stand, operator: &Path) -> Outcome<Self> {
        let ends = Ends::of(&stand.rig)?;
        let replicas =
            [Replica::new(stand, operator, ends.clone(), "operator-0").await?, Replica::new(stand, operator, ends, "operator-1").await?];
        let pair = Self { replicas, begun: Instant::now() };
        for replica in &pair.replicas {
            replica.spawn()?;
            pair.until_led().await?;
        }
        Ok(pair)
    }

    /// Waits until one of them leads.
    async fn until_led(&self) -> Outcome {
        let begun = Instant::now();
        loop {
            for replica in &self.replicas {
                if replica.leads().await? {
                    return Ok(());
                }
            }
            if begun.elapsed() > LIMIT {
                return Err(format!("nobody leads within {} s", LIMIT.as_secs()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Looks at both.
    ///
    /// # Errors
    /// When one that has ended can't be started again.
    pub async fn look(&self) -> Outcome {
        for replica in &self.replicas {
            replica.look(self.begun).await?;
        }
        Ok(())
    }

    /// Cuts all connections of one of them.
    pub fn cut(&self, which: usize) {
        if let Some(replica) = self.replicas.get(which) {
            replica.proxy.weather.cut();
        }
    }

    /// Ends the leader, waits until the other one leads, and starts the first one again.
    ///
    /// # Errors
    /// When nobody leads, or nobody takes over.
    pub async fn change_leader(&self, kill: bool) -> Outcome {
        self.until_led().await?;
        for replica in &self.replicas {
            if !replica.leads().await? {
                continue;
            }
            let ended = hold(&replica.living).take();
            let Some(Living { operator, samples }) = ended else { continue };
            if kill {
                operator.kill();
            } else {
                operator.terminate().await;
            }
            replica.bury(samples, if kill { End::Killed } else { End::Told });
            self.until_led().await?;
            return replica.spawn();
        }
        Err("the leader changed by itself".into())
    }

    /// Ends both, and returns all lives.
    pub fn end(self) -> Vec<Life> {
        let mut lives = Vec::new();
        for replica in self.replicas {
            if let Some(Living { samples, .. }) = hold(&replica.living).take() {
                replica.bury(samples, End::Over);
            }
            lives.append(&mut hold(&replica.ended));
        }
        lives
    }
}
