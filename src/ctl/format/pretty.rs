//! A table with borders, for people.

use std::io::{self, Write};

/// Rows that are measured before the first one is written; a later cell that is wider moves its border.
const MEASURED: usize = 1000;

/// The rows that wait until the columns are measured, and then the widths.
#[derive(Default)]
pub struct Pretty {
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Pretty {
    pub fn row(&mut self, out: &mut dyn Write, columns: &[&str], cells: Vec<String>) -> io::Result<()> {
        if let Some(widths) = &self.widths {
            border(out, widths, ["├", "┼", "┤"])?;
            return line(out, widths, &cells);
        }
        self.waiting.push(cells);
        if self.waiting.len() < MEASURED { Ok(()) } else { self.start(out, columns) }
    }

    pub fn finish(mut self, out: &mut dyn Write, columns: &[&str]) -> io::Result<()> {
        self.start(out, columns)?;
        border(out, self.widths.as_deref().unwrap_or_default(), ["└", "┴", "┘"])
    }

    fn start(&mut self, out: &mut dyn Write, columns: &[&str]) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let headers: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let width = |at: usize| {
            let cells = self.waiting.iter().chain([&headers]).filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        border(out, &widths, ["┌", "┬", "┐"])?;
        line(out, &widths, &headers)?;
        for cells in self.waiting.drain(..) {
            border(out, &widths, ["├", "┼", "┤"])?;
            line(out, &widths, &cells)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

fn border(out: &mut dyn Write, widths: &[usize], [left, between, right]: [&str; 3]) -> io::Result<()> {
    let lines: Vec<String> = widths.iter().map(|width| "─".repeat(width.saturating_add(2))).collect();
    writeln!(out, "{left}{}{right}", lines.join(between))
}

fn line(out: &mut dyn Write, widths: &[usize], cells: &[String]) -> io::Result<()> {
    let cells: Vec<String> = widths.iter().zip(cells).map(|(width, cell)| format!(" {cell:<width$} ")).collect();
    writeln!(out, "│{}│", cells.join("│"))
}
