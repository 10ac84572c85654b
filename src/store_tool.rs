//! `leveret store`: looks at the data directory of a node that does not run, and gives up what is damaged in it.
//!
//! [`inspect`] reads everything there is and changes nothing: the identity, the [`catalog`], the manifest and the journal
//! as a node does at start, and every record of every segment ([`walk`]). What is not as it was written is a
//! [`finding::Finding`]. [`print`] shows it, [`dump`] shows messages, and [`accept`] clears the damage so that the queues
//! are served again with what is left; a manifest that is lost is made anew by [`rebuild`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::persist::DataDirError;
use crate::persist::disk::{Disk, RealDisk};

mod accept;
mod catalog;
mod dump;
mod finding;
mod inspect;
#[cfg(not(feature = "sled-catalog"))]
mod memory_file;
mod print;
mod rebuild;
mod walk;

/// Look at the data directory of a node that does not run, and give up what is damaged in it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Read everything and say what is damaged. Changes nothing. Exit code 0: whole, 1: damaged, 2: cannot be read.
    Check {
        /// The data directory
        dir: PathBuf,
    },
    /// Show the queues, or the messages of one. Changes nothing.
    Dump {
        /// The data directory
        dir: PathBuf,
        /// The queue whose messages are shown
        #[arg(long, value_name = "NAME")]
        queue: Option<String>,
        /// Its virtual host
        #[arg(long, value_name = "NAME", default_value = "/", requires = "queue")]
        vhost: String,
        /// Messages to show
        #[arg(long, value_name = "N", default_value_t = 100, requires = "queue")]
        limit: u64,
    },
    /// Say what is lost and, with --yes, give it up: damaged queues are served again with everything that is whole.
    AcceptLoss {
        /// The data directory
        dir: PathBuf,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

/// Why nothing can be said or done.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    DataDir(DataDirError),
    #[error(transparent)]
    Store(#[from] crate::persist::store::StoreError),
    #[error(transparent)]
    Manifest(#[from] crate::persist::manifest::ManifestError),
    #[error(transparent)]
    Journal(#[from] crate::persist::journal::replay::ScanError),
    #[error("{path} cannot be used: {error}", path = .path.display())]
    Io { path: PathBuf, error: std::io::Error },
}

impl ToolError {
    fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

impl From<DataDirError> for ToolError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::InUse(path, by) => {
                Self::Refused(format!("the data directory {path} is used by another process{by}: stop that one first"))
            }
            DataDirError::Unreadable(path, error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self::Refused(format!("there is no directory {path}"))
            }
            DataDirError::Unreadable(path, error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                Self::Refused(format!("{path} is a file and no data directory"))
            }
            other => Self::DataDir(other),
        }
    }
}

/// Exit code 0: everything is whole, or was made so. 1: something is damaged. 2: it cannot be said or done.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let done = match &options.command {
        Command::Check { dir } => check(&*disk, dir),
        Command::Dump { dir, queue, vhost, limit } => {
            let queue = queue.as_deref().map(|name| (vhost.as_str(), name));
            dump::dump(&*disk, dir, queue, *limit)
        }
        Command::AcceptLoss { dir, yes } => accept::accept(&disk, dir, *yes),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("leveret store: {error}");
            ExitCode::from(2)
        }
    }
}

/// True when everything is whole.
fn check(disk: &dyn Disk, dir: &std::path::Path) -> Result<bool, ToolError> {
    let (data_dir, wrong) = crate::persist::DataDir::look(disk, dir)?;
    let mut inspection = inspect::Inspection::read(disk, &data_dir, &wrong)?;
    inspection.read_segments(disk)?;
    print::everything(&inspection);
    print::advice(&inspection);
    Ok(inspection.findings.is_empty())
}
