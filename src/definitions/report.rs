//! A plan as people and programs read it.

use serde::Serialize;

use super::changes::FieldChange;
use super::plan::{Action, Difference, Plan};
use super::problem::{item, kind, name};
use crate::visible::visible;

/// The answer to whoever asked for a plan, or had one carried out.
#[derive(Debug, Serialize)]
pub struct Report {
    pub applied: bool,
    pub summary: Summary,
    pub differences: Vec<Line>,
    pub warnings: Vec<String>,
    /// The differences, one a line: `+` to be made, `~` to be changed, `-` to go, `!` cannot be, `=` only in the broker.
    pub text: String,
}

#[derive(Debug, Serialize)]
pub struct Summary {
    pub create: usize,
    pub change: usize,
    pub delete: usize,
    pub same: usize,
    pub conflict: usize,
    pub invalid: usize,
    pub extra: usize,
}

#[derive(Debug, Serialize)]
pub struct Line {
    pub action: Action,
    pub kind: &'static str,
    pub item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Report {
    /// Of a plan that has been carried out, or not.
    pub fn new(plan: Plan, applied: bool) -> Self {
        let summary = Summary {
            create: plan.count(Action::Create),
            change: plan.count(Action::Change),
            delete: plan.count(Action::Delete),
            same: plan.same,
            conflict: plan.count(Action::Conflict),
            invalid: plan.count(Action::Invalid),
            extra: plan.count(Action::Extra),
        };
        let differences: Vec<Line> = plan.differences.into_iter().map(Line::of).collect();
        let mut text: String = differences.iter().map(Line::text).collect();
        if summary.extra > 0 {
            text.push_str("(= is here and not in the file: it stays, unless the plan is to prune)\n");
        }
        if differences.is_empty() {
            text.push_str("no differences\n");
        }
        Self { applied, summary, differences, warnings: plan.warnings, text }
    }
}

impl Line {
    fn of(difference: Difference) -> Self {
        let Difference { action, record, fields, reason } = difference;
        let vhost = record.vhost().map(str::to_owned);
        Self { action, kind: kind(&record), item: item(&record), vhost, name: name(&record).to_owned(), fields, reason }
    }

    fn text(&self) -> String {
        let sign = match self.action {
            Action::Create => '+',
            Action::Change => '~',
            Action::Delete => '-',
            Action::Conflict | Action::Invalid => '!',
            Action::Extra => '=',
        };
        let fields: Vec<_> = self.fields.iter().map(|f| format!("{} {} -> {}", f.field, f.from, f.to)).collect();
        let mut line = format!("{sign} {}", self.item);
        if !fields.is_empty() {
            line.push_str(&format!(": {}", fields.join(", ")));
        }
        if let Some(reason) = &self.reason {
            line.push_str(&format!(": {}", reason.replace('\n', " ")));
        }
        let mut line = visible(&line);
        line.push('\n');
        line
    }
}
