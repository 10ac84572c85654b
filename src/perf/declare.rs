//! `--declare-queues`: how fast are queues made, what does one cost, and is the last as fast as the first?

use std::fmt::Write as _;
use std::thread;
use std::time::Instant;

use amq_protocol::protocol::AMQPClass;
use serde_json::{Value, json};

use super::failure::Failure;
use super::load;
use super::methods::{self, QueueShape};
use super::options::Options;
use super::procfs::Process;
use super::report::{Summary, grouped, per_item, per_second};
use super::session::{Heartbeats, Session};
use super::topology::Topology;

pub struct Declared {
    queues: u32,
    declare_rate: f64,
    delete_rate: f64,
    memory_bytes: Option<f64>,
    first: Summary,
    last: Summary,
}

pub fn run(options: &Options, queues: u32) -> Result<Declared, Failure> {
    let topology = Topology::new(&Options { queues: 1, ..options.clone() });
    let shape = QueueShape { durable: options.durable, arguments: options.queue_args.clone() };
    let memory = || Some(Process::of(options.broker_pid?).memory()?.now);
    let delete = |n| methods::delete_queue(&topology.queue_name(n));
    // What an interrupted run has left.
    on_all(options, queues, &delete)?;
    let before = memory();
    let declare_seconds = on_all(options, queues, &|n| shape.declare(&topology.queue_name(n)))?;
    let memory_bytes = before.and_then(|before| Some(per_item(memory()?.saturating_sub(before), queues as usize)));
    let outcome = use_both_ends(options, &topology, queues);
    let delete_seconds = if options.keep_queues { f64::INFINITY } else { on_all(options, queues, &delete)? };
    let (first, last) = outcome?;
    Ok(Declared {
        queues,
        declare_rate: per_second(queues.into(), declare_seconds),
        delete_rate: per_second(queues.into(), delete_seconds),
        memory_bytes,
        first,
        last,
    })
}

fn use_both_ends(options: &Options, topology: &Topology, queues: u32) -> Result<(Summary, Summary), Failure> {
    let options = Options { queues: 1, ..options.clone() };
    let first = load::on_queues(&options, topology, 0)?;
    let last = load::on_queues(&options, &topology.clone().starting_with(queues - 1), 0)?;
    Ok((first, last))
}

/// Makes one call for each queue, spread over the connections; returns the seconds that it took.
fn on_all(options: &Options, queues: u32, call: &(dyn Fn(u32) -> AMQPClass + Sync)) -> Result<f64, Failure> {
    let connections = u32::from(options.connections.unwrap_or(1));
    let mut sessions = Vec::new();
    for _ in 0..connections {
        let mut session = Session::open(options, Heartbeats::Off)?;
        session.call(1, &methods::channel_open())?;
        sessions.push(session);
    }
    let start = Instant::now();
    thread::scope(|scope| {
        let work = |first: u32, mut session: Session| {
            let calls = (first..queues).step_by(connections as usize).map(call);
            session.pipeline(1, calls).map(|()| session)
        };
        let threads: Vec<_> = (0..).zip(sessions).map(|(n, session)| scope.spawn(move || work(n, session))).collect();
        let mut seconds = 0.0;
        for thread in threads {
            let session = thread.join().map_err(|_| Failure::Protocol("a declaring thread ended".into()))??;
            seconds = start.elapsed().as_secs_f64();
            session.close();
        }
        Ok(seconds)
    })
}

impl Declared {
    pub fn is_sound(&self) -> bool {
        self.first.is_sound() && self.last.is_sound()
    }

    pub fn text(&self) -> String {
        let mut out = format!("\n{} queues declared at {}/s", self.queues, grouped(self.declare_rate));
        if self.delete_rate > 0.0 {
            let _ = write!(out, ", deleted at {}/s", grouped(self.delete_rate));
        }
        if let Some(bytes) = self.memory_bytes {
            let _ = write!(out, "; {bytes:.0} bytes of the broker's memory for each");
        }
        out + &format!("\n\nthe first queue:{}\nthe last queue:{}", self.first.text(), self.last.text())
    }

    pub fn json(&self) -> Value {
        json!({
            "queues": self.queues,
            "declared_per_second": self.declare_rate,
            "deleted_per_second": self.delete_rate,
            "broker_memory_bytes_per_queue": self.memory_bytes,
            "first": self.first.json(),
            "last": self.last.json(),
            "sound": self.is_sound(),
        })
    }
}
