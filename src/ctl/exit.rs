//! How a command fails: an exit code as RabbitMQ's tools have it, and what is written to the standard error.

/// Exit codes, RabbitMQ's.
pub mod code {
    pub const USAGE: u8 = 64;
    pub const DATA: u8 = 65;
    pub const NO_USER: u8 = 67;
    pub const UNAVAILABLE: u8 = 69;
    pub const SOFTWARE: u8 = 70;
    pub const TEMPORARY: u8 = 75;
}

/// How the text of a failure is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// The text and nothing else.
    Bare,
    /// `Error:` and the text in the next line.
    Error,
    /// The command was called wrongly: what was given and how it is used follow.
    Arguments,
}

/// Why a command has not done what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    pub text: String,
    frame: Frame,
}

impl Failure {
    pub fn error(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), frame: Frame::Error }
    }

    /// What most refusals of the node come to.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::error(code::UNAVAILABLE, text)
    }

    pub fn bare(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), frame: Frame::Bare }
    }

    /// Too few or too many arguments, or an option that the command does not have.
    pub fn usage(text: impl Into<String>) -> Self {
        Self {
            code: code::USAGE,
            text: format!("Error (argument validation): {}", text.into()),
            frame: Frame::Arguments,
        }
    }

    /// An argument that cannot be used.
    pub fn bad_argument(text: impl Into<String>) -> Self {
        let text = format!("Error (argument validation): {}", text.into());
        Self { code: code::DATA, text, frame: Frame::Arguments }
    }

    /// The node is not in the state for this command.
    pub fn wrong_state(text: impl Into<String>) -> Self {
        Self { code: code::USAGE, text: format!("Error: {}", text.into()), frame: Frame::Arguments }
    }

    /// What is named is not there. There is one code for that, whatever it is; only users have one of their own.
    pub fn missing(text: impl Into<String>) -> Self {
        Self::error(code::DATA, text)
    }

    pub fn no_such_user(name: &str) -> Self {
        Self::error(code::NO_USER, format!("User \"{name}\" does not exist"))
    }

    pub fn no_such_vhost(name: &str) -> Self {
        Self::bare(code::DATA, format!("Virtual host '{name}' does not exist"))
    }

    /// What is written to the standard error.
    pub fn text_for(&self, given: &str, usage: &str) -> String {
        match self.frame {
            Frame::Bare if self.text.is_empty() => String::new(),
            Frame::Bare => format!("{}\n", self.text),
            Frame::Error => format!("Error:\n{}\n", self.text),
            Frame::Arguments => format!("{}\nArguments given:\n\t{given}\n\nUsage\n\n{usage}\n", self.text),
        }
    }
}
