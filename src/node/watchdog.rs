//! What the service manager hears from a node that runs: what it does, and, as often as its watchdog asks, that all is well.
//!
//! That all is well is said by a task of the runtime, so nobody says it when the runtime does not move any more; and only
//! while the journal's writer gets on, without which nothing is confirmed. A full or failing disk is no reason to end the
//! node: the writer tries again then, and publishers wait. A write that has not come back for as long as the watchdog's
//! whole period is one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::service::Service;
use crate::http::{Control as _, Phase};
use crate::notify::Manager;
use crate::vhost::Broker;

/// How old a status may be.
const STATUS_AGE: Duration = Duration::from_secs(5);

/// Tells the manager until the node is stopped.
pub async fn keep_told(
    manager: Arc<Manager>,
    broker: Arc<Broker>,
    service: Arc<Service>,
    mut stopping: watch::Receiver<bool>,
) {
    // Three chances before the manager's patience is at its end.
    let period = manager.watchdog().map_or(STATUS_AGE, |period| (period / 3).min(STATUS_AGE));
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut was_stuck) = (String::new(), false);
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = ticks.tick() => {}
        }
        let status = status(&broker, &service);
        if status != said {
            manager.status(&status);
            said = status;
        }
        let Some(period) = manager.watchdog() else { continue };
        let stuck = broker.store.as_ref().and_then(|store| store.journal.standstill(period));
        match &stuck {
            None => manager.alive(),
            Some(why) if !was_stuck => {
                tracing::error!(target: "leveret", "{why}: the service manager is not told any more that all is well");
            }
            Some(_) => {}
        }
        was_stuck = stuck.is_some();
    }
}

/// What the node does, in a line.
pub fn status(broker: &Broker, service: &Service) -> String {
    let phase = match service.phase() {
        Phase::Running => {
            let plain = service.addresses("amqp").into_iter().chain(service.addresses("amqp/ssl"));
            let addresses: Vec<String> = plain.map(|address| address.to_string()).collect();
            format!("Serving AMQP on {}", addresses.join(", "))
        }
        other => other.told().to_owned(),
    };
    let store = broker.store.as_ref();
    let alarms = [
        (broker.memory.is_over(), "memory is over its watermark"),
        (store.is_some_and(|store| store.disk_alarm()), "the disk is nearly full, or cannot be written"),
    ];
    let why: Vec<&str> = alarms.into_iter().filter(|(is_set, _)| *is_set).map(|(_, why)| why).collect();
    if why.is_empty() { phase } else { format!("{phase}; publishers wait: {}", why.join(", ")) }
}
