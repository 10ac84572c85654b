//! Failed logins, and how long the next refusal is kept waiting.
//!
//! Failures are counted by source address (of IPv6, by the network of 64 bits that one machine has) and by user name. The
//! first few cost nothing; then every further one doubles the time until a refusal is answered. Only refusals wait: who
//! knows the password is let in at once, from wherever and however often others have guessed. Counts are forgotten
//! within two [`SPAN`]s, and when there are too many of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Failures that cost nothing.
const FREE: u32 = 3;
/// What the first one after these costs.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// How long a count is kept at least.
const SPAN: Duration = Duration::from_secs(120);
/// Most addresses and names that are counted within a span.
const MOST: usize = 8192;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    User(Box<str>),
}

/// Counts of failures, in two generations: the older one is dropped when the younger one is old or full.
#[derive(Debug, Default)]
pub struct Attempts {
    young: HashMap<Who, u32>,
    old: HashMap<Who, u32>,
    /// When the young generation began.
    since: Duration,
}

impl Attempts {
    /// Notes a failure and says how long its answer has to wait. `now` is the time since any moment.
    pub fn failed(&mut self, address: IpAddr, user: &str, now: Duration) -> Duration {
        if now.saturating_sub(self.since) >= SPAN || self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let by_address = self.count(Who::Address(network(address)));
        // A name that nobody has is worth no more memory than a long one that somebody may have.
        let by_user = self.count(Who::User(user.chars().take(64).collect::<String>().into()));
        delay(by_address.max(by_user))
    }

    /// A login has been right: what the user has mistyped before does not count any more.
    pub fn succeeded(&mut self, user: &str) {
        if self.young.is_empty() && self.old.is_empty() {
            return;
        }
        let who = Who::User(user.chars().take(64).collect::<String>().into());
        self.young.remove(&who);
        self.old.remove(&who);
    }

    /// Counts one more.
    fn count(&mut self, who: Who) -> u32 {
        let before = self.old.remove(&who).unwrap_or(0);
        let count = self.young.entry(who).or_insert(0);
        *count = count.saturating_add(before).saturating_add(1);
        *count
    }
}

fn delay(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(FREE + 1) else { return Duration::ZERO };
    FIRST_DELAY.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST_DELAY)
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() >> 64 << 64;
            IpAddr::V6(bits.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const NOW: Duration = Duration::from_secs(1000);

    fn there(n: u16) -> IpAddr {
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, n, 1, 2, 3, 4))
    }

    #[test]
    fn refusals_wait_longer_and_longer_up_to_a_limit() {
        let mut attempts = Attempts::default();
        let waits: Vec<_> = (0..12).map(|n| attempts.failed(HERE, &format!("u{n}"), NOW).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
        assert_eq!(attempts.failed(there(1), "else", NOW), Duration::ZERO);
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }

    #[test]
    fn guesses_at_one_user_from_everywhere_are_slow_until_the_user_logs_in() {
        let mut attempts = Attempts::default();
        for n in 0..5 {
            attempts.failed(there(n), "victim", NOW);
        }
        assert_eq!(attempts.failed(there(6), "victim", NOW), Duration::from_secs(1));
        attempts.succeeded("victim");
        assert_eq!(attempts.failed(there(7), "victim", NOW), Duration::ZERO);
    }

    #[test]
    fn one_machine_has_one_count_whatever_its_address_in_its_network() {
        let mut attempts = Attempts::default();
        let waits = (0..4).map(|n| {
            let address = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, n, n, n));
            attempts.failed(address, &format!("u{n}"), NOW)
        });
        assert_eq!(waits.last(), Some(FIRST_DELAY));
    }

    #[test]
    fn counts_are_forgotten_in_time_and_never_many() {
        let mut attempts = Attempts::default();
        for _ in 0..5 {
            attempts.failed(HERE, "u", NOW);
        }
        assert_eq!(attempts.failed(HERE, "u", NOW + SPAN), Duration::from_secs(1));
        attempts.failed(there(0), "v", NOW + SPAN * 2);
        attempts.failed(there(0), "v", NOW + SPAN * 3);
        assert_eq!(attempts.failed(HERE, "u", NOW + SPAN * 4), Duration::ZERO);
        for n in 0..60_000 {
            attempts.failed(there(n), &format!("u{n}"), NOW);
        }
        assert!(attempts.young.len() + attempts.old.len() <= 2 * (MOST + 2));
    }
}
