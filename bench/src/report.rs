//! The figures: a table for people, and `target/bench/results.json` for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::setting::{Setting, load_average};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// Nothing was promised.
    Open,
}

/// One figure.
#[derive(Debug)]
pub(crate) struct Measurement {
    /// Name of the metric.
    pub(crate) name: &'static str,
    /// The figure.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: &'static str,
    /// What it should be.
    pub(crate) goal: Goal,
    /// How it came about, for people.
    pub(crate) detail: String,
}

/// A figure as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    value: f64,
    unit: String,
    goal: String,
    detail: String,
    #[serde(default)]
    met: Option<bool>,
}

/// Every figure so far.
pub(crate) struct Report {
    path: PathBuf,
    machine: String,
    rows: BTreeMap<String, Row>,
}

impl Report {
    /// An empty report; with `keep`, what a former run measured stays until it is measured again.
    pub(crate) fn open(setting: &Setting, keep: bool) -> Result<Self> {
        let path = setting.output()?.join("results.json");
        let rows = match fs::read(&path) {
            Ok(text) if keep => serde_json::from_slice(&text)
                .with_context(|| format!("{} is no report: remove it", path.display()))?,
            _ => BTreeMap::new(),
        };
        Ok(Self {
            path,
            machine: setting.machine.clone(),
            rows,
        })
    }

    /// Adds figures and writes the report out.
    pub(crate) fn add(&mut self, measurements: Vec<Measurement>) -> Result<()> {
        for measurement in measurements {
            let row = Row {
                value: (measurement.value * 1000.0).round() / 1000.0,
                unit: measurement.unit.to_owned(),
                goal: measurement.goal.to_string(),
                detail: format!(
                    "{}; {}, load average {}",
                    measurement.detail,
                    self.machine,
                    load_average()
                ),
                met: measurement.goal.is_met(measurement.value),
            };
            self.rows.insert(measurement.name.to_owned(), row);
        }
        let text = serde_json::to_string_pretty(&self.rows)?;
        fs::write(&self.path, text + "\n")
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }

    /// Where the figures are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Goal {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Goal::AtMost(most) => Some(value <= most),
            Goal::AtLeast(least) => Some(value >= least),
            Goal::Open => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::AtMost(most) => write!(f, "<= {most}"),
            Goal::AtLeast(least) => write!(f, ">= {least}"),
            Goal::Open => f.write_str("-"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        for (name, row) in &self.rows {
            let met = match row.met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "",
            };
            writeln!(
                f,
                "{name:<22} {:>12} {:<8} {:<10} {met}",
                row.value, row.unit, row.goal
            )?;
            writeln!(f, "    {}", row.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_inclusive() {
        assert_eq!(Goal::AtMost(1.5).is_met(1.5), Some(true));
        assert_eq!(Goal::AtMost(1.5).is_met(1.6), Some(false));
        assert_eq!(Goal::AtLeast(0.5).is_met(0.49), Some(false));
        assert_eq!(Goal::Open.is_met(1.0), None);
        assert_eq!(Goal::AtLeast(100_000.0).to_string(), ">= 100000");
    }
}
