//! All runs of a flow: once without faults, which says how many writes it takes, then twice for each write.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use strum::IntoEnumIterator;

use super::flow::Flow;
use super::gate::{Fate, Refusal, Script};
use super::invariants::{self, Violation};
use super::run::{Run, Stage, WATCHED};
use crate::site::{Outcome, chain};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter)]
pub enum Fault {
    /// The operator is killed before it reaches the API server.
    Before,
    /// The operator is killed when it was carried out, before the answer is back.
    After,
    /// It is carried out, and the connection breaks before the answer is back.
    Lost,
    /// It is refused as a conflict, though there is none.
    Conflict,
    /// The API server is busy.
    Busy,
}

impl Fault {
    /// Those that kill the operator.
    pub const KILLS: [Self; 2] = [Self::Before, Self::After];

    /// How it is written behind the number of a point.
    fn mark(self) -> &'static str {
        match self {
            Self::Before => "",
            Self::After => "+",
            Self::Lost => "?",
            Self::Conflict => "!",
            Self::Busy => "~",
        }
    }

    fn fate(self) -> Fate {
        let refused = |code, reason| Fate::Refuse(Refusal { code, reason, retry_after: None });
        match self {
            Self::Before => Fate::KillBefore,
            Self::After => Fate::KillAfter,
            Self::Lost => Fate::LoseReply,
            Self::Conflict => refused(409, "Conflict"),
            Self::Busy => refused(503, "ServiceUnavailable"),
        }
    }
}

/// Where a run is broken. A write is known by what it is and not by its number: those that are sent side by side come in any order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The write.
    pub what: String,
    /// Which one of its kind, from 1.
    pub nth: usize,
    /// What happens to it.
    pub fault: Fault,
}

impl Point {
    /// The points of each of these writes.
    fn of(writes: &[String], faults: &[Fault]) -> Vec<Self> {
        let mut often: HashMap<&str, usize> = HashMap::new();
        let mut points = Vec::new();
        for what in writes {
            let nth = *often.entry(what).and_modify(|nth| *nth += 1).or_insert(1);
            points.extend(faults.iter().map(|fault| Self { what: what.clone(), nth, fault: *fault }));
        }
        points
    }

    fn is_among(&self, writes: &[String]) -> bool {
        writes.iter().filter(|what| **what == self.what).count() >= self.nth
    }
}

/// `2 PUT dhis2instances/play/status`: killed before the second one. `2+ PUT …`: after it.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.nth, self.fault.mark(), self.what)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = "write a point as it is printed, such as '1+ POST secrets/play-admin'";
        let (place, what) = text.split_once(' ').ok_or(wrong)?;
        let number = place.trim_end_matches(|c: char| !c.is_ascii_digit());
        let fault = Fault::iter().find(|fault| place.strip_prefix(number) == Some(fault.mark()));
        Ok(Self { what: what.to_owned(), nth: number.parse().map_err(|_| wrong)?, fault: fault.ok_or(wrong)? })
    }
}

/// What became of one run with a fault.
#[derive(Debug)]
pub struct Verdict {
    /// Where it was broken.
    pub point: Point,
    /// Whether the run came to it: a status that is written in two steps may also be written in one.
    pub hit: bool,
    /// What does not hold.
    pub violations: Vec<Violation>,
}

/// What became of a flow.
#[derive(Debug)]
pub struct Tally {
    /// Its name.
    pub flow: &'static str,
    /// The writes of the run without faults.
    pub writes: Vec<String>,
    /// The runs with a fault.
    pub verdicts: Vec<Verdict>,
    /// How long all took.
    pub took: Duration,
}

impl Tally {
    /// What does not hold, for people: the first of each run, since the others follow from few causes.
    pub fn complaints(&self) -> Vec<String> {
        /// So many of a run.
        const TOLD: usize = 4;
        let wrong =
            self.verdicts.iter().flat_map(|verdict| verdict.violations.iter().take(TOLD).map(move |violation| (verdict, violation)));
        let told = wrong.map(|(Verdict { point, .. }, Violation { invariant, what })| {
            format!("FLOW={} POINT='{point}': {invariant}: {what}", self.flow)
        });
        told.collect()
    }

    /// How many runs broke an invariant.
    pub fn failed(&self) -> usize {
        self.verdicts.iter().filter(|verdict| !verdict.violations.is_empty()).count()
    }

    /// Runs that never came to their fault.
    pub fn missed(&self) -> usize {
        self.verdicts.iter().filter(|verdict| !verdict.hit).count()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = self.failed();
        let (points, seconds) = (self.verdicts.len(), self.took.as_secs_f32());
        write!(
            f,
            "{:<14} {:>3} writes {points:>4} points {:>3} missed {wrong:>3} failed {seconds:>6.1} s",
            self.flow,
            self.writes.len(),
            self.missed()
        )
    }
}

/// The runs of a flow. `choose` picks points among all.
/// A run without faults is watched for `idle` when all is done.
///
/// # Errors
/// When the flow does not work without any fault.
pub async fn crash(
    stage: &Stage,
    flow: &Flow,
    faults: &[Fault],
    idle: Duration,
    choose: impl FnOnce(Vec<Point>) -> Vec<Point>,
) -> Outcome<Tally> {
    let begun = Instant::now();
    let clean = stage.run(flow, Box::new(|_, _| Fate::Pass), None, WATCHED).await?;
    let again = stage.run(flow, Box::new(|_, _| Fate::Pass), Some(&clean.seen), idle);
    let chosen = choose(Point::of(&clean.writes, faults));
    if let Some(unknown) = chosen.iter().find(|point| !point.is_among(&clean.writes)) {
        return Err(format!("{}: no write is {unknown}; there are:\n{}", flow.name, clean.writes.join("\n")).into());
    }
    // The stage says how many go on at a time.
    let verdicts = futures::future::join_all(chosen.into_iter().map(|point| judge(stage, flow, &clean, point)));
    let (again, mut verdicts) = futures::future::join(again, verdicts).await;
    // What differs between two runs without faults says nothing about faults.
    let differ = invariants::violations(flow, &clean.seen, &again?.seen);
    if !differ.is_empty() {
        let told: Vec<String> = differ.into_iter().map(|Violation { invariant, what }| format!("{invariant}: {what}")).collect();
        return Err(format!("{}: two runs without any fault differ:\n{}", flow.name, told.join("\n")).into());
    }
    verdicts.sort_by(|a, b| a.point.cmp(&b.point));
    Ok(Tally { flow: flow.name, writes: clean.writes, verdicts, took: begun.elapsed() })
}

/// How often a point is looked for that a run did not come to: what is written in one step or in two is chance.
const TRIES: usize = 3;

async fn judge(stage: &Stage, flow: &Flow, clean: &Run, point: Point) -> Verdict {
    let mut verdict = Verdict { point, hit: false, violations: Vec::new() };
    for _ in 0..TRIES {
        match stage.run(flow, at(verdict.point.clone()), Some(&clean.seen), WATCHED).await {
            Ok(run) => {
                verdict.hit = run.met;
                verdict.violations = invariants::violations(flow, &clean.seen, &run.seen);
            }
            Err(error) => verdict.violations = vec![Violation { invariant: "the flow goes on", what: chain(&*error) }],
        }
        if verdict.hit || !verdict.violations.is_empty() {
            break;
        }
    }
    verdict
}

fn at(point: Point) -> Script {
    let mut met = 0;
    Box::new(move |_, what| {
        let same = what == point.what;
        met += usize::from(same);
        if same && met == point.nth { point.fault.fate() } else { Fate::Pass }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_printed() {
        let writes = ["PUT a", "POST b", "PUT a"].map(str::to_owned);
        let points = Point::of(&writes, &Fault::KILLS);
        let printed: Vec<String> = points.iter().map(ToString::to_string).collect();
        assert_eq!(printed, ["1 PUT a", "1+ PUT a", "1 POST b", "1+ POST b", "2 PUT a", "2+ PUT a"]);
        assert_eq!(printed.iter().map(|text| text.parse().unwrap()).collect::<Vec<Point>>(), points);
        for fault in Fault::iter() {
            let point = Point { what: "POST a".to_owned(), nth: 12, fault };
            assert_eq!(point.to_string().parse(), Ok(point));
        }
        for wrong in ["7", "7* PUT a", "+ PUT a"] {
            assert!(wrong.parse::<Point>().is_err(), "{wrong}");
        }
    }
}
