//! The socket in the data directory: whoever may open it owns the broker, and needs no password.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Its name in the data directory.
pub const NAME: &str = "leveret.sock";
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Longest path that a socket's address can hold.
const LONGEST: usize = 100;

/// A listening socket, removed with this value.
pub struct LocalSocket {
    pub listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Listens in a data directory, which belongs to this process: a socket that is there is left from an earlier one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        short(data_dir, |short| socket.bind(&SockAddr::unix(short.join(NAME))?))?;
        // Nobody can connect before it is listened on, and then only who may.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(socket.into())?, path })
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Whoever starts next removes it, if this fails.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Calls `with` the directory, under a short name where its own is too long for a socket's address.
///
/// # Errors
/// Those of `with`, and when the directory cannot be opened.
pub fn short<T>(dir: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if dir.as_os_str().len() + NAME.len() < LONGEST {
        return with(dir);
    }
    let open = std::fs::File::open(dir)?;
    with(&PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())))
}
