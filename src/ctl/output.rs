//! What a command writes to the standard output: what it is about to do, what came of it, lists.

use std::io::{BufWriter, ErrorKind, Stdout, Write};

use serde_json::Value as Json;
use serde_json::json;

use super::exit::{Failure, code};
use super::format::{Form, Rows};

/// The standard output, with what the operator wants to see of it.
pub struct Output {
    to: BufWriter<Stdout>,
    pub form: Form,
    pub quiet: bool,
    pub silent: bool,
    headers: bool,
}

impl Output {
    pub fn new(form: Form, quiet: bool, silent: bool, headers: bool) -> Self {
        Self { to: BufWriter::new(std::io::stdout()), form, quiet, silent, headers: headers && !silent }
    }

    /// What the command is about to do.
    pub fn banner(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.quiet || self.silent || self.form.is_for_programs() {
            return Ok(());
        }
        self.line(text)?;
        // Seen before the node has answered.
        self.flush()
    }

    /// What came of it.
    pub fn say(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        match self.form {
            _ if self.silent => Ok(()),
            Form::Json => self.line(json!({ "result": "ok", "message": text.as_ref() }).to_string()),
            _ => self.line(text),
        }
    }

    /// What was asked for: it is written in any case.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.to, "{}", text.as_ref()).map_err(cannot_write)
    }

    /// The same in bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes).map_err(cannot_write)
    }

    /// An answer for programs, when they ask: then the command is done.
    pub fn as_json(&mut self, value: impl FnOnce() -> Json) -> Result<bool, Failure> {
        if self.form != Form::Json {
            return Ok(false);
        }
        self.line(value().to_string()).map(|()| true)
    }

    /// A list with these columns.
    pub fn rows<'a>(&'a mut self, columns: Vec<&'a str>) -> Rows<'a> {
        Rows::new(&mut self.to, self.form, self.headers, columns)
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(cannot_write)
    }
}

/// When who reads has gone, as `head` does, nothing is said.
pub fn cannot_write(error: std::io::Error) -> Failure {
    let text = match error.kind() {
        ErrorKind::BrokenPipe => String::new(),
        _ => format!("the output cannot be written: {error}"),
    };
    Failure::bare(code::SOFTWARE, text)
}
