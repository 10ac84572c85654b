//! The system calls that the standard library does not offer; above all, waiting for one socket.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub read: bool,
    pub write: bool,
}

/// Waits until the socket can be read, or written where that is asked for, or the time is over.
pub fn wait(stream: &TcpStream, write: bool, timeout: Duration) -> io::Result<Ready> {
    let events = if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let mut fds = [PollFd::new(stream, events)];
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Ready::default()),
        Err(error) => return Err(error.into()),
    }
    let [fd] = &fds;
    // Errors and hang-ups show when the socket is read.
    let read = fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
    Ok(Ready { read, write: fd.revents().contains(PollFlags::OUT) })
}

/// Lets this thread's waits end when they should and not up to 50 microseconds later.
pub fn precise_timers() {
    // Where it is not allowed, timers stay as they were.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
}

/// Lets this process have as many open files as it may.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is not allowed, the limit stays as it was.
    let _ = setrlimit(Resource::Nofile, limit);
}
