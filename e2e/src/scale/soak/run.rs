//! The order of a soak.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::chance::Chance;
use super::explain::{self, Change, Part, Record};
use super::pair::Pair;
use super::report::Report;
use crate::cluster::files;
use crate::scale::contender::Contender;
use crate::scale::crowd;
use crate::scale::machine::Machine;
use crate::scale::measure::create;
use crate::scale::stand::Stand;
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// How long, and of what.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many instances.
    pub instances: usize,
    /// How long.
    pub time: Duration,
    /// How long each leader leads.
    pub term: Duration,
    /// What chance begins with.
    pub seed: u64,
    /// Where all that was seen is written as JSON.
    pub json: Option<PathBuf>,
}

/// A change so often.
const CHANGE: Duration = Duration::from_secs(1);

/// Of so many instances chance picks the one that changes, however many there are: in half a term each of them is changed a few times. What
/// an instance takes when it is first touched after a start is none that is lost, and would hide what is.
const CHANGING: usize = 100;

/// Memory and queue are looked at so often.
const LOOK: Duration = Duration::from_secs(2);

/// How long all that was changed may take in the end.
const CARRY_OUT: Duration = Duration::from_mins(5);

/// The longest time without a cut, in seconds.
const CUT: usize = 60;

/// What changes: a key of `dhis.conf`, always of four digits, so that nothing gets longer.
const KEY: &str = "system.session.timeout";
const VALUES: usize = 9000;

fn patch(value: usize) -> Value {
    json!({ "spec": { "config": { (KEY): (1000 + value % VALUES).to_string() } } })
}

fn shape(value: &str) -> Outcome<Dhis2Instance> {
    let mut instance = crowd::instance(0)?;
    instance.spec.config.insert(KEY.to_owned(), value.to_owned());
    Ok(instance)
}

/// What those who disturb do.
#[derive(Default)]
struct Diary {
    changes: Mutex<Vec<Change>>,
    cuts: Mutex<Vec<Timestamp>>,
    handovers: Mutex<Vec<Timestamp>>,
}

/// What they have done.
struct Closed {
    changes: Vec<Change>,
    cuts: Vec<Timestamp>,
    handovers: Vec<Timestamp>,
}

impl Diary {
    fn closed(self) -> Closed {
        Closed { changes: taken(self.changes), cuts: taken(self.cuts), handovers: taken(self.handovers) }
    }
}

fn note<T>(list: &Mutex<Vec<T>>, entry: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
}

fn taken<T>(list: Mutex<Vec<T>>) -> Vec<T> {
    list.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it.
///
/// # Errors
/// When something grows, is lost, or is written without reason; or when it can't be run.
pub async fn soak(operator: &Path, options: &Options) -> Outcome {
    let mut stand = Stand::build(operator).await?;
    let parts = explain::parts(shape)?;
    furnish(&mut stand, options.instances, &parts).await?;
    let mark = stand.traffic.mark()?;
    let pair = Pair::start(&stand, operator).await?;
    let diary = Diary::default();
    let end = Instant::now() + options.time;
    tokio::try_join!(
        change(&stand, options, &diary, end),
        cut(&pair, options, &diary, end),
        hand_over(&pair, options, &diary, end),
        look(&pair, end),
    )?;
    let diary = diary.closed();
    // What was changed last is still under way. What never comes is told by the report.
    let _ = carried_out(&mut stand, &diary.changes, &parts, mark).await;
    let report = report(&mut stand, pair, &diary, options, (mark, &parts)).await?;
    print!("{}", report.told());
    if let Some(path) = &options.json {
        path.parent().map_or(Ok(()), files::make_folder)?;
        files::write(path, serde_json::to_vec(&report)?)?;
    }
    let failures = report.failures();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Makes the instances, and changes each once: the first change of an object has to take it over as well.
async fn furnish(stand: &mut Stand, instances: usize, parts: &[Part]) -> Outcome {
    let running = stand.run(Contender::Operator, 0).await?;
    create::burst(stand, &running, instances).await?;
    let (mark, at) = (stand.traffic.mark()?, Timestamp::now());
    crowd::change(&stand.rig.client(), 0..instances, &patch(0)).await?;
    let changes: Vec<Change> = (0..instances).map(|instance| Change { instance, at }).collect();
    carried_out(stand, &changes, parts, mark).await
}

/// Waits until all that these changes change was written, and nothing more is.
async fn carried_out(stand: &mut Stand, changes: &[Change], parts: &[Part], mark: usize) -> Outcome {
    let (begun, user) = (Instant::now(), stand.user());
    loop {
        stand.traffic.until_quiet(&user, mark, CARRY_OUT).await?;
        let lost = Record { changes, upsets: &[], parts }.lost(&stand.traffic.by(&user, mark));
        match lost.first() {
            None => return Ok(()),
            Some(lost) if begun.elapsed() > CARRY_OUT => return Err(format!("not carried out: {lost}").into()),
            Some(_) => {}
        }
    }
}

async fn change(stand: &Stand, options: &Options, diary: &Diary, end: Instant) -> Outcome {
    let (client, mut chance) = (stand.rig.client(), Chance::new(options.seed));
    let mut next = tokio::time::interval(CHANGE);
    for number in 1.. {
        next.tick().await;
        if Instant::now() >= end {
            break;
        }
        let instance = chance.below(options.instances.min(CHANGING));
        note(&diary.changes, Change { instance, at: Timestamp::now() });
        crowd::change(&client, instance..instance + 1, &patch(number)).await?;
    }
    Ok(())
}

async fn cut(pair: &Pair, options: &Options, diary: &Diary, end: Instant) -> Outcome {
    let mut chance = Chance::new(options.seed.wrapping_add(1));
    loop {
        let wait = Duration::from_secs(1 + u64::try_from(chance.below(CUT))?);
        if !rested(wait, end).await {
            return Ok(());
        }
        note(&diary.cuts, Timestamp::now());
        pair.cut(chance.below(2));
    }
}

async fn hand_over(pair: &Pair, options: &Options, diary: &Diary, end: Instant) -> Outcome {
    let mut kill = true;
    while rested(options.term, end).await {
        note(&diary.handovers, Timestamp::now());
        pair.change_leader(kill).await?;
        note(&diary.handovers, Timestamp::now());
        kill = !kill;
    }
    Ok(())
}

async fn look(pair: &Pair, end: Instant) -> Outcome {
    while rested(LOOK, end).await {
        pair.look().await?;
    }
    Ok(())
}

/// Waits so long; not beyond the end, and then says so.
async fn rested(time: Duration, end: Instant) -> bool {
    let now = Instant::now();
    tokio::time::sleep(time.min(end.saturating_duration_since(now))).await;
    now + time < end
}

async fn report(stand: &mut Stand, pair: Pair, diary: &Closed, options: &Options, (mark, parts): (usize, &[Part])) -> Outcome<Report> {
    let lives = pair.end();
    stand.traffic.mark()?;
    let asked = stand.traffic.by(&stand.user(), mark);
    let writes: Vec<&Request> = asked.into_iter().filter(|request| request.writes()).collect();
    let counted: Vec<Request> = writes.iter().map(|request| (*request).clone()).collect();
    eprintln!("{}", audit::told(&audit::count(&counted, Request::what)));
    let Closed { changes, cuts, handovers } = diary;
    let upsets: Vec<Timestamp> = cuts.iter().chain(handovers).copied().collect();
    let record = Record { changes, upsets: &upsets, parts };
    let told = |request: &Request| format!("{} {} at {}", request.what(), request.object().name, request.at);
    Ok(Report {
        machine: Machine::here(stand.rig.client().apiserver_version().await?.git_version),
        instances: options.instances,
        seconds: options.time.as_secs(),
        seed: options.seed,
        changes: changes.len(),
        cuts: cuts.len(),
        handovers: handovers.len() / 2,
        writes: writes.len(),
        unexplained: record.unexplained(&writes).into_iter().map(told).collect(),
        lost: record.lost(&writes),
        growths: lives.iter().flat_map(super::life::Life::growths).collect(),
        lives,
    })
}
