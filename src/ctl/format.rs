//! Rows to text: one writer for the five forms of a list. Rows are written as they come, so that a list of any length needs
//! no more memory than its longest row; only the pretty table keeps its first rows, to measure its columns.

mod pretty;

use std::io::{self, Write};

use pretty::Pretty;
use serde_json::{Map, Value as Json};

use super::term::Term;

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Cells separated by tabs.
    Table,
    Pretty,
    Json,
    Csv,
    Erlang,
}

impl Form {
    /// The form of a name; `None` for what there is not.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "table" | "string" | "default" => Self::Table,
            "pretty_table" => Self::Pretty,
            "json" | "json_stream" => Self::Json,
            "csv" => Self::Csv,
            "erlang" => Self::Erlang,
            _ => return None,
        })
    }

    /// Whether a program reads it: then nothing else may be written around it.
    pub fn is_for_programs(self) -> bool {
        matches!(self, Self::Json | Self::Csv)
    }
}

/// Writes the rows of one list.
pub struct Rows<'a> {
    out: &'a mut dyn Write,
    form: Form,
    headers: bool,
    columns: Vec<&'a str>,
    written: u64,
    pretty: Pretty,
}

impl<'a> Rows<'a> {
    pub fn new(out: &'a mut dyn Write, form: Form, headers: bool, columns: Vec<&'a str>) -> Self {
        Self { out, form, headers, columns, written: 0, pretty: Pretty::default() }
    }

    /// Writes a row: one term for each column.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, terms: &[Term]) -> io::Result<()> {
        let first = self.written == 0;
        self.written += 1;
        match self.form {
            Form::Table => {
                if first && self.headers {
                    writeln!(self.out, "{}", self.columns.join("\t"))?;
                }
                let cells: Vec<_> = terms.iter().map(Term::cell).collect();
                writeln!(self.out, "{}", cells.join("\t"))
            }
            Form::Pretty => self.pretty.row(self.out, &self.columns, terms.iter().map(Term::cell).collect()),
            Form::Json => {
                self.out.write_all(if first { b"[\n" } else { b"," })?;
                let mut object = Map::new();
                for (name, term) in self.columns.iter().zip(terms) {
                    object.insert((*name).to_owned(), term.json());
                }
                writeln!(self.out, "{}", Json::Object(object))
            }
            Form::Csv => {
                if first && self.headers {
                    writeln!(self.out, "{}", csv_row(self.columns.iter().map(|name| (*name).to_owned())))?;
                }
                writeln!(self.out, "{}", csv_row(terms.iter().map(Term::cell)))
            }
            Form::Erlang => {
                let pairs = self.columns.iter().zip(terms).map(|(name, term)| format!("{{{name},{}}}", term.erlang()));
                let row = pairs.collect::<Vec<_>>().join(",");
                write!(self.out, "{}[{row}]", if first { "[" } else { ",\n " })
            }
        }
    }

    /// Writes what follows the last row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match (self.form, self.written) {
            (Form::Json, 0) => writeln!(self.out, "[\n]"),
            (Form::Json, _) => writeln!(self.out, "]"),
            (Form::Erlang, 0) => writeln!(self.out, "[]"),
            (Form::Erlang, _) => writeln!(self.out, "]"),
            (Form::Pretty, _) => self.pretty.finish(self.out, &self.columns),
            (Form::Table | Form::Csv, _) => Ok(()),
        }
    }
}

fn csv_row(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
