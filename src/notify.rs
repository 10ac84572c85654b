//! What the process tells the service manager that has started it: systemd's notification protocol.
//!
//! The manager names a datagram socket in `NOTIFY_SOCKET`, and with `WATCHDOG_USEC` how often it wants to hear that all is
//! well. [`Manager`] is that socket; each of its methods sends one datagram of `KEY=VALUE` lines. Whoever is started by
//! something else has no manager, and tells nobody.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a manager that does not read is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who has started this process and wants to know how it does.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names; `variable` looks one up.
    ///
    /// # Errors
    /// When its socket cannot be used.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> io::Result<Option<Self>> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        // The variables of a parent that has not taken them out are not for this process.
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let period = variable("WATCHDOG_USEC").and_then(|micros| micros.parse().ok()).filter(|micros| *micros > 0);
        Ok(Some(Self { socket, address, watchdog: period.filter(|_| is_ours).map(Duration::from_micros) }))
    }

    /// How long the manager waits for a sign of life, if it does.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// It serves; the text is for people.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// It takes over a new configuration, until the next [`Self::ready`].
    pub fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=Reading the configuration again");
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Closing connections and files");
    }

    /// What it does at the moment, for people.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// All is well.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            let what = message.lines().next().unwrap_or_default();
            tracing::warn!(target: "leveret", "the service manager cannot be told {what}: {error}");
        }
    }
}

/// Each line is a message of its own.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Option<Manager> {
        let found = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        Manager::of_environment(found).unwrap()
    }

    #[test]
    fn messages_are_lines_whatever_a_text_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap())]).unwrap();
        manager.ready("serves\nWATCHDOG=trigger");
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=serves WATCHDOG=trigger");
        assert_eq!(manager.watchdog(), None);
    }

    #[test]
    fn abstract_sockets_and_other_processes_watchdogs() {
        let name = format!("leveret-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let (name, pid) = (format!("@{name}"), std::process::id().to_string());
        let period = ("WATCHDOG_USEC", "2000000");
        let ours = manager(&[("NOTIFY_SOCKET", &name), period, ("WATCHDOG_PID", &pid)]).unwrap();
        assert_eq!(ours.watchdog(), Some(Duration::from_secs(2)));
        ours.alive();
        let mut buffer = [0; 100];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 10);
        let of_another = manager(&[("NOTIFY_SOCKET", &name), period, ("WATCHDOG_PID", "1")]).unwrap();
        assert_eq!(of_another.watchdog(), None);
        assert!(manager(&[period]).is_none());
    }
}
