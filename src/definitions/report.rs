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
    /// Messages that go with what is deleted.
    pub messages: u64,
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
    /// Those that go with it.
    #[serde(skip_serializing_if = "is_zero")]
    pub messages: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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
            messages: plan.differences.iter().map(|difference| difference.messages).sum(),
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
        let Difference { action, record, fields, reason, messages } = difference;
        let vhost = record.vhost().map(str::to_owned);
        Self {
            action,
            kind: kind(&record),
            item: item(&record),
            vhost,
            name: name(&record).to_owned(),
            fields,
            reason,
            messages,
        }
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
        match self.messages {
            0 => {}
            1 => line.push_str(": 1 message goes with it"),
            many => line.push_str(&format!(": {many} messages go with it")),
        }
        let mut line = visible(&line);
        line.push('\n');
        line
    }
}
