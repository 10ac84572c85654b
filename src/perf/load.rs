//! One run: set up, warm up, measure, let everything arrive, judge, clean up.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::check::{Faults, Ledger, Sent};
use super::clock::Clock;
use super::failure::Failure;
use super::meter::Orders;
use super::methods;
use super::options::Options;
use super::procfs::Process;
use super::producer::Producer;
use super::report::{self, Summary};
use super::sampler::{Sampler, Totals};
use super::session::{Heartbeats, Session};
use super::setup::{self, Builder};
use super::topology::Topology;

/// How often the threads' counters are looked at.
const LOOK: Duration = Duration::from_millis(5);
const LINE: Duration = Duration::from_secs(1);

pub fn run(options: &Options) -> Result<Summary, Failure> {
    let topology = Topology::new(options);
    let mut control = Session::open(options, Heartbeats::Off)?;
    control.call(1, &methods::channel_open())?;
    let waiting = if options.drain_only {
        setup::backlog(&mut control, &topology)?
    } else {
        setup::declare(&mut control, options, &topology)?;
        0
    };
    let outcome = on_queues(options, &topology, waiting);
    // Also after a failure, so that nothing is left behind; the failure is what is told.
    let cleaned = if options.keep_queues { Ok(()) } else { setup::clean_up(&mut control, &topology) };
    let summary = outcome?;
    cleaned?;
    control.close();
    Ok(summary)
}

/// Load on queues that exist, with so many messages waiting in them.
pub fn on_queues(options: &Options, topology: &Topology, waiting: u64) -> Result<Summary, Failure> {
    Run::start(options, topology, waiting)?.watch()
}

struct Run<'a> {
    options: &'a Options,
    topology: &'a Topology,
    /// Deliveries to expect besides those of what is sent.
    waiting: u64,
    orders: Arc<Orders>,
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    sampler: Sampler,
    threads: Vec<JoinHandle<Vec<Producer>>>,
    /// Before the first message.
    start: Mark,
    next_line: Instant,
}

/// The state of things at one time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    totals: Totals,
    broker_cpu: Option<f64>,
    own_cpu: Option<f64>,
}

impl<'a> Run<'a> {
    fn start(options: &'a Options, topology: &'a Topology, waiting: u64) -> Result<Self, Failure> {
        let orders = Arc::new(Orders::default());
        let ledgers: Vec<Arc<Mutex<Ledger>>> = (0..topology.queues).map(|_| Arc::default()).collect();
        let builder = Builder { options, topology, ledgers: &ledgers, orders: &orders, clock: Clock::start() };
        let (meters, pumps): (Vec<_>, Vec<_>) = builder.pumps()?.into_iter().unzip();
        let sampler = Sampler::new(meters);
        let start = mark(options, &sampler);
        let spawn = |pump: super::pump::Pump| thread::Builder::new().name("perf".into()).spawn(|| pump.run());
        let threads = pumps.into_iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
        let next_line = start.at + LINE;
        Ok(Self { options, topology, waiting, orders, ledgers, sampler, threads, start, next_line })
    }

    fn watch(mut self) -> Result<Summary, Failure> {
        let begin = self.warm_up();
        let end = self.options.seconds().map(|s| begin.at + Duration::from_secs_f64(s));
        self.look_until(|run, _| end.is_some_and(|end| Instant::now() >= end) || run.work_is_done());
        let stop = self.mark();
        self.orders.stop.store(true, Relaxed);
        let latencies = self.sampler.latencies();
        // A backlog that is drained for a time only is left where it is then.
        if !(self.options.drain_only && end.is_some()) {
            let stall = Duration::from_secs_f64(self.options.stall);
            self.look_until(|run, still| still > stall || run.all_arrived());
        }
        let last = self.mark();
        self.orders.finish.store(true, Relaxed);
        let (faults, totals) = self.judge()?;
        let latencies = if end.is_some() { latencies } else { self.sampler.latencies() };
        let received_until = if end.is_some() || self.options.publish_only { stop } else { last };
        let received = received_until.totals.received - begin.totals.received;
        let deliveries = last.totals.received - begin.totals.received;
        let published = last.totals.sent - begin.totals.sent;
        let cpu = |from: Option<f64>, to: Option<f64>| Some(to? - from?);
        let seconds = |from: Mark, to: Mark| (to.at - from.at).as_secs_f64().max(1e-9);
        let memory = self.options.broker_pid.and_then(|pid| Process::of(pid).memory());
        Ok(Summary {
            seconds: seconds(begin, stop),
            drain_seconds: seconds(stop, last),
            totals,
            sent_rate: report::per_second(stop.totals.sent - begin.totals.sent, seconds(begin, stop)),
            received_rate: report::per_second(received, seconds(begin, received_until)),
            confirmed_rate: report::per_second(stop.totals.confirmed - begin.totals.confirmed, seconds(begin, stop)),
            confirm: latencies.confirm,
            end_to_end: latencies.end_to_end,
            broker_cpu: cpu(begin.broker_cpu, last.broker_cpu),
            own_cpu: cpu(begin.own_cpu, last.own_cpu),
            published,
            deliveries: if self.options.publish_only { published } else { deliveries },
            memory,
            faults,
            consumed: !self.options.publish_only,
        })
    }

    /// Without one, the measurement begins with the first message.
    fn warm_up(&mut self) -> Mark {
        let seconds = self.options.warmup_seconds();
        if seconds == 0.0 {
            return self.start;
        }
        let warm = self.start.at + Duration::from_secs_f64(seconds);
        self.look_until(|_, _| Instant::now() >= warm);
        self.sampler.restart_latencies();
        self.mark()
    }

    /// Looks at the counters, and prints a line a second, until it is over. `over` is also told for how long nothing
    /// has moved.
    fn look_until(&mut self, over: impl Fn(&Self, Duration) -> bool) {
        let (mut before, mut moved) = (self.sampler.totals(), Instant::now());
        while !over(self, moved.elapsed()) && !self.orders.finish.load(Relaxed) {
            thread::sleep(LOOK);
            let totals = self.sampler.totals();
            if totals != before {
                (before, moved) = (totals, Instant::now());
            }
            if Instant::now() >= self.next_line {
                self.next_line += LINE;
                let sample = self.sampler.sample();
                report::line(self.options, self.start.at.elapsed(), &sample);
            }
        }
    }

    fn producers_done(&self) -> bool {
        self.orders.producing.load(Relaxed) == 0
    }

    /// Everything that was to be sent is sent and confirmed: with a --count, or in a drained queue.
    fn work_is_done(&self) -> bool {
        if self.options.drain_only { self.all_arrived() } else { self.producers_done() }
    }

    fn all_arrived(&self) -> bool {
        let totals = self.sampler.totals();
        let arrived = self.options.publish_only || totals.unique >= totals.expected + self.waiting;
        self.producers_done() && arrived
    }

    fn mark(&self) -> Mark {
        mark(self.options, &self.sampler)
    }

    /// Collects what the producers say and compares it with what the consumers saw.
    fn judge(&mut self) -> Result<(Faults, Totals), Failure> {
        let joined = self.threads.drain(..).map(JoinHandle::join);
        let producers: Vec<Producer> = joined.filter_map(Result::ok).flatten().collect();
        if let Some(failure) = self.orders.take_failure() {
            return Err(failure);
        }
        let mut faults = Faults::default();
        for (queue, ledger) in (0..).zip(&self.ledgers) {
            let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let routed = producers.iter().filter(|p| self.topology.targets(p.id).contains(&queue));
            let expected: BTreeMap<u16, &Sent> = routed.map(|p| (p.id, &p.sent)).collect();
            if self.options.drain_only {
                faults.add(&ledger.settle_alone());
            } else if !self.options.publish_only {
                faults.add(&ledger.settle(&expected));
            }
        }
        Ok((faults, self.sampler.totals()))
    }
}

fn mark(options: &Options, sampler: &Sampler) -> Mark {
    Mark {
        at: Instant::now(),
        totals: sampler.totals(),
        broker_cpu: options.broker_pid.and_then(|pid| Process::of(pid).cpu()),
        own_cpu: Process::this().cpu(),
    }
}
