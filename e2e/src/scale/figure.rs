//! One figure: what was measured, of whom, and the goal that it is held against.

use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Goal {
    /// By how much a value misses it; none when it does not.
    pub fn missed_by(self, value: f64) -> Option<f64> {
        match self {
            Self::AtMost(most) => (value > most).then_some(value - most),
            Self::AtLeast(least) => (value < least).then_some(least - value),
        }
    }

    /// As in a table.
    pub fn told(self) -> String {
        match self {
            Self::AtMost(0.0) => "0".to_owned(),
            Self::AtMost(most) => format!("≤ {}", number(most)),
            Self::AtLeast(least) => format!("≥ {}", number(least)),
        }
    }
}

/// A figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What it is of.
    pub name: String,
    /// How many instances there were.
    pub instances: usize,
    /// What it is counted in; empty for a plain number.
    pub unit: String,
    /// The operator's.
    pub ours: Spread,
    /// The twin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<Spread>,
    /// The raw writer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Spread>,
    /// What the operator's should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
}

impl Figure {
    /// A figure of the operator's alone, without a goal.
    pub fn new(name: &str, instances: usize, unit: &str, ours: Spread) -> Self {
        Self { name: name.to_owned(), instances, unit: unit.to_owned(), ours, twin: None, raw: None, goal: None }
    }

    /// With a goal.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Beside the twin's.
    #[must_use]
    pub fn twin(mut self, twin: Option<Spread>) -> Self {
        self.twin = twin;
        self
    }

    /// Beside the raw writer's.
    #[must_use]
    pub fn raw(mut self, raw: Option<Spread>) -> Self {
        self.raw = raw;
        self
    }

    /// By how much it misses its goal.
    pub fn missed_by(&self) -> Option<f64> {
        self.goal.and_then(|goal| goal.missed_by(self.ours.median))
    }
}

/// A number as people read it: three digits that mean something.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_by_how_much_it_is_missed() {
        assert_eq!(Goal::AtMost(16.0).missed_by(18.5), Some(2.5));
        assert_eq!(Goal::AtMost(0.0).missed_by(0.0), None);
        assert_eq!(Goal::AtLeast(0.8).missed_by(0.5), Some(0.8 - 0.5));
        let figure = Figure::new("memory", 0, "MiB", Spread::one(17.0)).goal(Goal::AtMost(16.0));
        assert_eq!(figure.missed_by(), Some(1.0));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 22.0, 0.8, 12.34, 1234.5, 0.0123].map(number), ["0", "22", "0.80", "12.3", "1234", "0.012"]);
    }
}
