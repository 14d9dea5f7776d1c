//! All figures of a run, as a table for people and as JSON.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Goal, number};
use super::machine::Machine;
use super::measure::create::ratio;
use super::plot::{Curve, Panel};
use super::spread::Spread;
use crate::site::Outcome;

/// What a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// What.
    pub figures: Vec<Figure>,
}

const HEAD: [&str; 7] = ["measure", "instances", "operator", "twin", "raw writer", "goal", ""];

impl Report {
    /// What several runs found on one machine, in the order of their instances.
    ///
    /// # Errors
    /// When they are not of one program on one machine, or there is none.
    pub fn joined(reports: Vec<Self>) -> Outcome<Self> {
        let mut reports = reports.into_iter();
        let mut joined = reports.next().ok_or("no report")?;
        for report in reports {
            if report.machine != joined.machine {
                return Err(format!("not of one program on one machine: {:?}, {:?}", joined.machine, report.machine).into());
            }
            joined.figures.extend(report.figures);
        }
        joined.figures.sort_by_key(|figure| figure.instances);
        Ok(joined)
    }

    /// A Markdown table; its columns line up, so that it can be read on a terminal as well.
    pub fn table(&self) -> String {
        let rows: Vec<[String; 7]> = std::iter::once(HEAD.map(str::to_owned)).chain(self.figures.iter().map(row)).collect();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        let line = |cells: &[String; 7]| {
            let cells = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:width$} "));
            format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
        };
        let rule = format!("|{}|\n", widths.map(|width| "-".repeat(width + 2)).join("|"));
        let mut lines = rows.iter().map(line);
        lines.next().into_iter().chain([rule]).chain(lines).collect()
    }

    /// The curves of memory and time over the number of instances.
    pub fn panels(&self) -> [Panel; 2] {
        [("burst: memory at most (VmHWM)", "memory at most (MiB)"), ("burst: until all objects are there", "burst of creates (s)")].map(
            |(name, title)| {
                let figures = || self.figures.iter().filter(move |figure| figure.name == name);
                let curve = |of: &'static str, value: &dyn Fn(&Figure) -> Option<Spread>| {
                    let points = figures().filter_map(|figure| Some((ratio(figure.instances, 1), value(figure)?.median)));
                    Curve { name: of, points: points.collect() }
                };
                let ours = curve("operator", &|figure| Some(figure.ours));
                Panel { title, curves: vec![ours, curve("twin", &|figure| figure.twin), curve("raw writer", &|figure| figure.raw)] }
            },
        )
    }

    /// What misses its goal, a line each.
    pub fn misses(&self) -> Vec<String> {
        let missed = self.figures.iter().filter_map(|figure| Some((figure, figure.missed_by()?, figure.goal?)));
        missed
            .map(|(figure, by, goal)| {
                format!(
                    "{} with {} instances: {} misses {} by {}",
                    figure.name,
                    figure.instances,
                    told(&figure.ours, &figure.unit),
                    goal.told(),
                    number(by)
                )
            })
            .collect()
    }
}

fn row(figure: &Figure) -> [String; 7] {
    let other = |spread: Option<Spread>| spread.map_or_else(String::new, |spread| told(&spread, &figure.unit));
    let verdict = match (figure.goal, figure.missed_by()) {
        (None, _) => "",
        (Some(_), None) => "met",
        (Some(_), Some(_)) => "missed",
    };
    [
        figure.name.clone(),
        figure.instances.to_string(),
        told(&figure.ours, &figure.unit),
        other(figure.twin),
        other(figure.raw),
        figure.goal.map_or_else(String::new, Goal::told),
        verdict.to_owned(),
    ]
}

fn told(spread: &Spread, unit: &str) -> String {
    let ends = if spread.count > 1 { format!(" ({}–{})", number(spread.min), number(spread.max)) } else { String::new() };
    format!("{}{ends}{}{unit}", number(spread.median), if unit.is_empty() { "" } else { " " })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let memory = Figure::new("memory", 1000, "MiB", Spread::one(44.0)).goal(Goal::AtMost(40.0)).twin(Some(Spread::one(300.0)));
        let time = Figure::new("burst", 1000, "s", Spread { median: 20.0, min: 19.0, max: 22.5, count: 5 });
        Report { machine: Machine::default(), figures: vec![memory, time] }
    }

    #[test]
    fn a_table_says_what_is_met() {
        let table = report().table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].contains("44 MiB") && lines[2].contains("300 MiB") && lines[2].contains("missed"), "{table}");
        assert!(lines[3].contains("20 (19–22.5) s"), "{table}");
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{table}");
    }

    #[test]
    fn a_miss_is_told_with_its_distance() {
        assert_eq!(report().misses(), ["memory with 1000 instances: 44 MiB misses ≤ 40 by 4"]);
    }

    #[test]
    fn reports_of_one_program_are_joined() {
        let few = Report { figures: vec![Figure::new("memory", 100, "MiB", Spread::one(20.0))], ..report() };
        let joined = Report::joined(vec![report(), few.clone()]).unwrap();
        assert_eq!(joined.figures.iter().map(|figure| figure.instances).collect::<Vec<_>>(), [100, 1000, 1000]);
        let other = Report { machine: Machine { commit: "other".to_owned(), ..Machine::default() }, ..few };
        assert!(Report::joined(vec![report(), other]).is_err());
        assert!(Report::joined(Vec::new()).is_err());
    }
}
