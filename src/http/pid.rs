//! Names of connections and channels in the form of Erlang's process numbers, which scripts hand from one command to
//! the next.

/// Of a connection, by its number.
pub fn of_connection(node: &str, connection: u64) -> String {
    format!("<{node}.1.{connection}.0>")
}

/// Of a channel.
pub fn of_channel(node: &str, connection: u64, channel: u16) -> String {
    format!("<{node}.1.{connection}.{channel}>")
}

/// The number of the connection that is meant, or the channel of which is meant.
pub fn connection(pid: &str) -> Option<u64> {
    let mut parts = pid.strip_prefix('<')?.strip_suffix('>')?.rsplit('.');
    let (channel, connection) = (parts.next()?, parts.next()?);
    channel.parse::<u16>().ok()?;
    parts.next().filter(|generation| *generation == "1")?;
    connection.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_read_back() {
        assert_eq!(connection(&of_connection("rabbit@host.domain", 42)), Some(42));
        assert_eq!(connection(&of_channel("rabbit@host", 7, 3)), Some(7));
        for other in ["", "<>", "<rabbit@host.1.x.0>", "<rabbit@host.2.7.0>", "127.0.0.1:5 -> 127.0.0.1:5672"] {
            assert_eq!(connection(other), None, "{other}");
        }
    }
}
