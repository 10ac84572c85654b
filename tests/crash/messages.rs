//! Confirmed messages survive, acked ones stay away, and order holds, however the broker dies.
//!
//! A cycle is: start the broker, look into some of its queues, load it, end it. In the end everything is looked at, drained,
//! and must stay away after one more restart.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use leveret::persist::sim::Random;
use tempfile::TempDir;

use super::broker::{Broker, Death};
use super::checker::Checker;
use super::client::End;
use super::harness::{count, random};
use super::letters;
use super::load::roles::{ROLES, declare_all, work};
use super::load::session::Session;
use super::load::{BARRIER, Load, all_queues};

/// Small files, so that a short cycle goes through all of their life.
const SETTINGS: [&str; 3] = ["store.journal_file_size=256KiB", "store.journal_keep=1", "store.segment_size=128KiB"];
/// The longest that a cycle loads the broker.
const CYCLE: Duration = Duration::from_secs(2);
/// About how much happens in the longest cycle.
const EVENTS: u64 = 10_000;

fn kill_at_any_time(times: u64) {
    let mut course = Course::begin();
    for _ in 0..times {
        course.random_cycle();
    }
    course.end();
}

#[test]
fn nothing_is_lost_when_the_broker_is_killed_at_any_time() {
    kill_at_any_time(count(8));
}

#[test]
#[ignore = "long"]
fn a_thousand_kills() {
    kill_at_any_time(count(1000));
}

#[cfg(debug_assertions)]
fn die_at_points(times: u64) {
    use leveret::persist::points::NAMES;
    let mut course = Course::begin();
    let mut died = [0; NAMES.len()];
    for at in 0..usize::try_from(times).expect("a number of times") {
        // Later rounds pass the point more often before they die there.
        let most = if at < NAMES.len() { 2 } else { 30 };
        let point = at % NAMES.len();
        if course.cycle_to_point(NAMES[point], most) {
            died[point] += 1;
        }
    }
    for (name, times) in NAMES.iter().zip(died) {
        eprintln!("died at {name:<24} {times:>4} times{}", if times == 0 { ", NOT REACHED" } else { "" });
    }
    course.end();
}

#[cfg(debug_assertions)]
#[test]
fn nothing_is_lost_when_the_broker_dies_at_a_named_point() {
    die_at_points(count(leveret::persist::points::NAMES.len() as u64));
}

#[cfg(debug_assertions)]
#[test]
#[ignore = "long"]
fn many_deaths_at_named_points() {
    die_at_points(count(480));
}

/// A confirmed message that dies or is delayed is always in one place, wherever the broker dies.
#[test]
fn dead_letters_and_delays() {
    letters::survive_kills(count(6), false);
}

#[test]
fn dead_letters_in_quorum_queues_whatever_their_delivery_mode() {
    letters::survive_kills(count(6), true);
}

#[test]
fn a_load_without_a_restart_has_no_faults() {
    let mut course = Course::begin();
    course.cycle(Start::Plain, Ending::QuietStop, EVENTS);
    let counts = course.load.ask(Checker::counts);
    assert!(counts.confirmed > 0 && counts.delivered > 0, "{counts}");
}

/// How a broker's life ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// In the middle of the load.
    Kill,
    Stop,
    /// After the clients have left in good order.
    QuietKill,
    QuietStop,
}

/// How it begins.
#[derive(Clone, Copy, Debug)]
enum Start<'a> {
    Plain,
    /// Killed once while it starts, and then started.
    Twice,
    /// Told to die at a point.
    DieAt(&'a str),
}

/// A number of cycles on one data directory.
struct Course {
    load: Load,
    data: TempDir,
    random: Random,
    cycles: u64,
    /// The end of the last broker's output.
    log: String,
}

impl Course {
    fn begin() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        Self { load: Load::new(), data, random: random(), cycles: 0, log: String::new() }
    }

    fn random_cycle(&mut self) {
        let start = if self.random.chance(1, 4) { Start::Twice } else { Start::Plain };
        let ending = match self.random.below(10) {
            0 => Ending::Stop,
            1 => Ending::QuietStop,
            2 => Ending::QuietKill,
            _ => Ending::Kill,
        };
        let events = self.random.below(EVENTS);
        self.cycle(start, ending, events);
    }

    /// Whether the broker came to the point.
    #[cfg(debug_assertions)]
    fn cycle_to_point(&mut self, name: &str, most: u64) -> bool {
        let die_at = format!("{name}:{}", 1 + self.random.below(most));
        self.cycle(Start::DieAt(&die_at), Ending::Stop, u64::MAX) == Death::Killed
    }

    /// The life of one broker.
    fn cycle(&mut self, start: Start<'_>, ending: Ending, events: u64) -> Death {
        if let Start::Twice = start {
            let mut broker = Broker::spawn(self.data.path(), &SETTINGS, None);
            std::thread::park_timeout(Duration::from_micros(self.random.below(30_000)));
            broker.kill();
        }
        let die_at = if let Start::DieAt(point) = start { Some(point) } else { None };
        self.load.begin(die_at.is_some());
        let mut broker = Broker::spawn(self.data.path(), &SETTINGS, die_at);
        let death = match broker.serves() {
            Some(address) => self.under_load(&mut broker, address, ending, events),
            None => Death::Killed,
        };
        let expected = match ending {
            Ending::Kill | Ending::QuietKill => Death::Killed,
            Ending::Stop | Ending::QuietStop => Death::Exited(ExitStatus::default()),
        };
        let is_as_expected = death == expected || die_at.is_some() && death == Death::Killed;
        self.check(&broker, (!is_as_expected).then(|| format!("ended as {death:?} and not {expected:?}")));
        self.load.tell(Checker::restarted);
        death
    }

    fn under_load(&mut self, broker: &mut Broker, address: SocketAddr, ending: Ending, events: u64) -> Death {
        let load = &self.load;
        let seeds: Vec<u64> = ROLES.iter().map(|_| self.random.next()).collect();
        let jitter = Duration::from_micros(self.random.below(5000));
        let prepared = prepare(load, address, self.random.next());
        let is_prepared = prepared.is_ok();
        load.judge("the first client", prepared);
        if !is_prepared {
            return broker.kill();
        }
        std::thread::scope(|scope| {
            // Should anything panic here, the workers would be waited for in vain.
            let _stop = StopWhenDropped(load);
            for (number, (role, seed)) in (1..).zip(ROLES.into_iter().zip(seeds)) {
                load.spawn(scope, format!("{role:?}"), move || work(role, load, address, number, seed));
            }
            load.wait(events, CYCLE);
            // Not right after something happened.
            std::thread::park_timeout(jitter);
            match ending {
                Ending::Kill => load.expect_kill(),
                Ending::Stop => load.expect_stop(),
                Ending::QuietKill | Ending::QuietStop => {
                    load.stop_and_wait();
                    load.judge("the last client", look_at_all(load, address, true));
                }
            }
            match ending {
                Ending::Kill | Ending::QuietKill => broker.kill(),
                Ending::Stop | Ending::QuietStop => broker.stop(),
            }
        })
    }

    /// Everything is looked at and taken, and stays away.
    fn end(mut self) {
        for keep in [false, true] {
            self.load.begin(false);
            let (mut broker, address) = Broker::start(self.data.path(), &SETTINGS);
            self.load.judge("the last client", look_at_all(&self.load, address, keep));
            broker.kill();
            self.check(&broker, None);
            self.load.tell(Checker::restarted);
        }
        eprintln!("{}", self.summary());
    }

    /// Fails when anything was wrong so far. The data is then left as it is.
    fn check(&mut self, broker: &Broker, trouble: Option<String>) {
        self.cycles += 1;
        let (counts, faults) = self.load.ask(|checker| (checker.counts(), checker.faults().to_vec()));
        let trouble: Vec<String> = trouble.into_iter().chain(self.load.trouble()).chain(broker.complaints()).collect();
        let (summary, log) = (self.summary(), broker.log());
        if !counts.is_flawless() || !trouble.is_empty() {
            self.data.disable_cleanup(true);
            let (data, faults, trouble) = (self.data.path().display(), faults.join("\n"), trouble.join("\n"));
            let logs = format!("the broker before:\n{}\nthis one:\n{log}", self.log);
            panic!("data in {data}\n{summary}{faults}\n{trouble}\n{logs}");
        }
        if self.cycles.is_multiple_of(100) {
            eprintln!("{summary}");
        }
        self.log = log;
    }

    fn summary(&self) -> String {
        format!("{:<24} {:>10}\n{}", "cycles", self.cycles, self.load.ask(Checker::counts))
    }
}

struct StopWhenDropped<'a>(&'a Load);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Declares everything, looks into some queues, and empties what only grows.
fn prepare(load: &Load, address: SocketAddr, seed: u64) -> Result<(), End> {
    let mut session = Session::open(load, address, 0, seed)?;
    declare_all(&mut session)?;
    for queue in all_queues() {
        if session.random.chance(1, 3) {
            session.inspect(queue, true)?;
        }
    }
    if load.ask(|checker| checker.depth(BARRIER[0])) > 500 {
        session.empty(BARRIER[0], false)?;
    }
    session.leave()
}

fn look_at_all(load: &Load, address: SocketAddr, keep: bool) -> Result<(), End> {
    let mut session = Session::open(load, address, 15, 0)?;
    declare_all(&mut session)?;
    for queue in all_queues() {
        session.inspect(queue, keep)?;
    }
    session.leave()
}
