//! A data directory: that it is ours, that we may use it, and that nobody else does.
//!
//! Everything is looked at before anything is changed: a directory that is refused is left as it was. [`DataDir`] holds
//! the lock, so it has to live as long as anything in the directory is open.

mod identity;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::opening;
use identity::Known;
pub use identity::{Identity, now};

const LOCK: &str = "lock";
/// What may lie in a directory that nobody has used yet: of ours, what a crash of the first start leaves.
const NOTHING: [&str; 4] = [LOCK, "identity.new", "identity.copy.new", "lost+found"];

/// Why a data directory is refused, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {0} is no directory: move that file away, or set data_dir to another path")]
    NoDirectory(String),
    #[error("the data directory {0} cannot be made ({1}): make it yourself, or set data_dir to another path")]
    NotMade(String, io::Error),
    #[error(
        "the data directory {path} belongs to user {owner} and Leveret runs as user {user}: start it as user {owner}, \
         or give it the directory with chown -R {user} {path}"
    )]
    Owner { path: String, owner: u32, user: u32 },
    #[error("the data directory {0} cannot be read ({1}): give Leveret's user access to it and all its files")]
    Unreadable(String, io::Error),
    #[error("the data directory {0} cannot be written ({1}): mount it read-write and give Leveret's user access to it")]
    ReadOnly(String, io::Error),
    #[error("the data directory {0} is used by another process{1}: stop that one, or set data_dir to another path")]
    InUse(String, String),
    #[error("the data directory {0} cannot be locked ({1}): put it on a file system that knows locks")]
    NoLocks(String, io::Error),
    #[error(
        "the data directory {0} cannot be locked, for {0}/{LOCK} is no plain file: remove that, nothing of value is in it"
    )]
    BadLock(String),
    #[error("the directory {0} is not empty and not Leveret's (there is {1:?} in it): set data_dir to another path")]
    Foreign(String, String),
    #[error(
        "the data directory {path} was written by a newer version of Leveret (format {found}, this version knows \
         {known}): start that version"
    )]
    Newer { path: String, found: u32, known: u32 },
    #[error(
        "the data directory {path} belongs to node {found} and this node is called {wanted}: set node_name \
         (RABBITMQ_NODENAME) to {found}, or data_dir to another path"
    )]
    OtherNode { path: String, found: String, wanted: String },
    #[error(
        "both identity files of the data directory {0} are damaged: put one of them back from a backup, for without them \
         the messages cannot be told from another node's"
    )]
    Damaged(String),
    #[error(
        "the files identity and identity.copy of the data directory {0} are of two different data directories: remove the one \
         that does not belong to the messages there"
    )]
    TwoIdentities(String),
    #[error("{0} is no data directory of Leveret: there is no identity in it")]
    NoIdentity(String),
    #[error("{0}")]
    OtherCatalog(String),
}

/// A data directory that belongs to this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    /// Locked as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Takes a directory, makes it when it does not exist, and repairs its identity when one copy of it is not in order.
    /// `node` is the name that this node was given, if any.
    ///
    /// # Errors
    /// When it is refused. Nothing has been changed in it then.
    pub fn open(disk: &dyn Disk, path: &Path, node: Option<&str>) -> Result<Self, DataDirError> {
        make(path)?;
        check(disk, path, node)?;
        if let Err(error) = rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
            return Err(DataDirError::ReadOnly(show(path), error.into()));
        }
        let lock = lock(path)?;
        // Another process may have had it until now.
        let known = check(disk, path, node)?;
        let read_only = |e| DataDirError::ReadOnly(show(path), e);
        let identity = match known {
            None => {
                let identity = Identity::new(node).map_err(read_only)?;
                identity.write(disk, path).map_err(read_only)?;
                identity
            }
            Some((identity, wrong)) => {
                let named = Identity { node: node.map(str::to_owned).or(identity.node.clone()), ..identity.clone() };
                if !wrong.is_empty() {
                    let (path, wrong) = (path.display(), wrong.join(" and "));
                    tracing::warn!(target: "leveret", "{path}/{wrong} was damaged or missing and is written anew");
                }
                if named != identity || !wrong.is_empty() {
                    named.write(disk, path).map_err(read_only)?;
                }
                named
            }
        };
        Ok(Self { path: path.to_owned(), identity, _lock: lock })
    }

    /// Takes a directory to look at it, and changes nothing. Says what of its identity is not in order.
    ///
    /// # Errors
    /// When it is none of Leveret's, or in use.
    pub fn look(disk: &dyn Disk, path: &Path) -> Result<(Self, Vec<&'static str>), DataDirError> {
        let lock = match File::open(path.join(LOCK)) {
            // A copy that nobody has used yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(path),
            file => file,
        };
        let lock = take(lock.map_err(|e| DataDirError::Unreadable(show(path), e))?, path)?;
        let Some((identity, wrong)) = check(disk, path, None)? else {
            return Err(DataDirError::NoIdentity(show(path)));
        };
        Ok((Self { path: path.to_owned(), identity, _lock: lock }, wrong))
    }

    /// Whether a directory could be taken or made, by what can be seen without changing anything. Whether another
    /// process has it is not looked at.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn rehearse(disk: &dyn Disk, path: &Path, node: Option<&str>) -> Result<(), DataDirError> {
        if !is_there(path)? {
            let mut above = path.parent();
            while let Some(dir) = above.filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
                above = dir.parent();
            }
            let above = above.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let may_write = rustix::fs::access(above, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
            return may_write.map_err(|error| DataDirError::NotMade(show(path), error.into()));
        }
        check(disk, path, node)?;
        let may_write = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
        may_write.map_err(|error| DataDirError::ReadOnly(show(path), error.into()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn make(path: &Path) -> Result<(), DataDirError> {
    if is_there(path)? {
        return Ok(());
    }
    // Hashes of passwords are nothing for everybody.
    let made = DirBuilder::new().recursive(true).mode(0o750).create(path);
    made.map_err(|e| DataDirError::NotMade(show(path), e))
}

/// Whether there is a directory, which has to be this user's.
fn is_there(path: &Path) -> Result<bool, DataDirError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(DataDirError::NotMade(show(path), error));
        }
        Err(error) => return Err(DataDirError::Unreadable(show(path), error)),
    };
    if !metadata.is_dir() {
        return Err(DataDirError::NoDirectory(show(path)));
    }
    check_owner(path, metadata.uid(), rustix::process::geteuid().as_raw()).map(|()| true)
}

/// Files of several users in one directory end in a start that fails one day: even root has to decide whose it is.
fn check_owner(path: &Path, owner: u32, user: u32) -> Result<(), DataDirError> {
    if owner == user { Ok(()) } else { Err(DataDirError::Owner { path: show(path), owner, user }) }
}

fn names(path: &Path) -> Result<Vec<String>, DataDirError> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names = fs::read_dir(path).and_then(|entries| entries.map(name).collect());
    names.map_err(|e| DataDirError::Unreadable(show(path), e))
}

/// The identity of a directory that may be used; `None` of one that gets a
/// new identity.
fn check(disk: &dyn Disk, path: &Path, node: Option<&str>) -> Result<Option<Known>, DataDirError> {
    let names = names(path)?;
    let known = identity::load(disk, path).map_err(|unknown| match unknown {
        identity::Unknown::Unreadable(error) => DataDirError::Unreadable(show(path), error),
        identity::Unknown::Newer(found) => DataDirError::Newer { path: show(path), found, known: identity::FORMAT },
        identity::Unknown::Damaged => DataDirError::Damaged(show(path)),
        identity::Unknown::Two => DataDirError::TwoIdentities(show(path)),
    })?;
    match &known {
        Some((Identity { node: Some(found), .. }, _)) => {
            if let Some(wanted) = node.filter(|wanted| wanted != found) {
                let (found, wanted) = (found.clone(), wanted.to_owned());
                return Err(DataDirError::OtherNode { path: show(path), found, wanted });
            }
        }
        Some(_) => {}
        None => {
            // A directory from before there were identities has a catalog, and nothing that is not ours.
            let is_ours = opening::has_catalog(&names);
            let foreign = |name: &&String| !(NOTHING.contains(&name.as_str()) || is_ours && opening::is_ours(name));
            if let Some(foreign) = names.iter().find(foreign) {
                return Err(DataDirError::Foreign(show(path), foreign.clone()));
            }
        }
    }
    opening::check_kind(path, &names).map_err(DataDirError::OtherCatalog)?;
    Ok(known)
}

/// Locks the directory for this process. The process's number in the file is for people.
fn lock(path: &Path) -> Result<File, DataDirError> {
    let lock = path.join(LOCK);
    // What a link leads to is nobody's to write over.
    if fs::symlink_metadata(&lock).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(DataDirError::BadLock(show(path)));
    }
    let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened = OpenOptions::new().read(true).write(true).create(true).custom_flags(no_links).open(lock);
    let mut file = take(opened.map_err(|e| DataDirError::ReadOnly(show(path), e))?, path)?;
    let pid = format!("{}\n", std::process::id());
    match file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())) {
        // A full disk is no reason not to start: consumers make room.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(DataDirError::ReadOnly(show(path), error)),
        _ => Ok(file),
    }
}

fn take(file: File, path: &Path) -> Result<File, DataDirError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // It is only for the message.
            let _ = file.take(20).read_to_string(&mut holder);
            let holder = holder.trim().parse::<u32>().map(|pid| format!(" ({pid})")).unwrap_or_default();
            Err(DataDirError::InUse(show(path), holder))
        }
        Err(TryLockError::Error(error)) => Err(DataDirError::NoLocks(show(path), error)),
    }
}
