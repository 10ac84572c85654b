//! The names of files and directories: one image of them, and the changes between two images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::images::Number;

/// One change, which happens as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Change {
    Link { path: PathBuf, file: Number },
    Unlink { path: PathBuf, file: Number },
    Rename { from: PathBuf, to: PathBuf, file: Number },
    MakeDir(PathBuf),
    RemoveDir(PathBuf),
}

impl Change {
    fn paths(&self) -> [&Path; 2] {
        match self {
            Self::Link { path, .. } | Self::Unlink { path, .. } => [path, path],
            Self::MakeDir(path) | Self::RemoveDir(path) => [path, path],
            Self::Rename { from, to, .. } => [from, to],
        }
    }

    /// Whether it is a change in this directory.
    pub fn is_in(&self, dir: &Path) -> bool {
        self.paths().iter().any(|path| path.parent() == Some(dir))
    }

    /// Whether it is a change below a directory, however deep.
    pub fn is_below(&self, dir: &Path) -> bool {
        self.paths().iter().any(|path| *path != dir && path.starts_with(dir))
    }

    pub fn removed_dir_in(&self, dir: &Path) -> Option<PathBuf> {
        match self {
            Self::RemoveDir(path) if path.parent() == Some(dir) => Some(path.clone()),
            _ => None,
        }
    }

    pub fn file(&self) -> Option<Number> {
        match self {
            Self::Link { file, .. } | Self::Unlink { file, .. } | Self::Rename { file, .. } => Some(*file),
            Self::MakeDir(_) | Self::RemoveDir(_) => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Names {
    pub files: BTreeMap<PathBuf, Number>,
    pub dirs: BTreeSet<PathBuf>,
}

impl Names {
    /// Makes a change, as far as it makes sense when changes before it were lost.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Link { path, file } => {
                self.files.insert(path.clone(), *file);
            }
            Change::Unlink { path, file } => self.unlink(path, *file),
            Change::Rename { from, to, file } => {
                self.unlink(from, *file);
                self.files.insert(to.clone(), *file);
            }
            Change::MakeDir(path) => {
                self.dirs.insert(path.clone());
            }
            Change::RemoveDir(path) => {
                if self.children(path).next().is_none() {
                    self.dirs.remove(path);
                }
            }
        }
    }

    fn unlink(&mut self, path: &Path, file: Number) {
        if self.files.get(path) == Some(&file) {
            self.files.remove(path);
        }
    }

    pub fn has_dir(&self, dir: &Path) -> bool {
        is_root(dir) || self.dirs.contains(dir)
    }

    /// The paths of files and directories that lie directly in a directory.
    pub fn children(&self, dir: &Path) -> impl Iterator<Item = &PathBuf> {
        self.files.keys().chain(&self.dirs).filter(move |path| path.parent() == Some(dir))
    }

    /// Forgets what lies in directories that do not exist.
    pub fn drop_unreachable(&mut self) {
        let dirs = self.dirs.clone();
        let is_reachable = |path: &Path| path.ancestors().skip(1).all(|dir| is_root(dir) || dirs.contains(dir));
        self.dirs.retain(|dir| is_reachable(dir));
        self.files.retain(|path, _| is_reachable(path));
    }
}

/// `/`, and where relative paths begin, always exist.
fn is_root(dir: &Path) -> bool {
    dir.parent().is_none()
}
