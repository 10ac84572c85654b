use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn id(producer: u16, seq: u64) -> Id {
    Id { producer, seq }
}

fn sent(published: u64) -> Sent {
    Sent { published, not_promised: SeqSet::default() }
}

fn judge(deliveries: &[(u16, u64, bool)], published: u64) -> Faults {
    let (mut tracker, mut ledger) = (Tracker::default(), Ledger::default());
    for (producer, seq, redelivered) in deliveries {
        tracker.saw(id(*producer, *seq), *redelivered);
    }
    tracker.report(&mut ledger);
    let sent = sent(published);
    ledger.settle(&BTreeMap::from([(0, &sent)]))
}

#[test]
fn all_in_order_is_no_fault() {
    assert_eq!(judge(&[(0, 0, false), (0, 1, false), (0, 2, false)], 3), Faults::default());
}

#[test]
fn each_fault_is_told_apart() {
    let lost = Faults { lost: 1, ..Faults::default() };
    assert_eq!(judge(&[(0, 0, false), (0, 2, false)], 3), lost);
    let twice = Faults { duplicated: 1, ..Faults::default() };
    assert_eq!(judge(&[(0, 0, false), (0, 1, false), (0, 1, false), (0, 2, false)], 3), twice);
    let late = Faults { out_of_order: 1, ..Faults::default() };
    assert_eq!(judge(&[(0, 0, false), (0, 2, false), (0, 1, false)], 3), late);
    let again = Faults { redelivered: 1, ..Faults::default() };
    assert_eq!(judge(&[(0, 0, false), (0, 1, false), (0, 0, true), (0, 2, false)], 3), again);
    let stray = Faults { misrouted: 1, ..Faults::default() };
    assert_eq!(judge(&[(0, 0, false), (7, 3, false)], 1), stray);
    let wrong = Faults { corrupt: 1, ..Faults::default() };
    assert_eq!(judge(&[(0, 0, false), (0, 1, false)], 1), wrong);
}

#[test]
fn a_number_out_of_all_bounds_takes_no_memory() {
    let faults = judge(&[(0, 0, false), (0, (1 << 48) - 1, false)], 1);
    assert_eq!(faults, Faults { corrupt: 1, ..Faults::default() });
}

#[test]
fn what_was_refused_may_be_missing() {
    let mut sent = sent(3);
    sent.not_promised.insert_run(1..2);
    let (mut tracker, mut ledger) = (Tracker::default(), Ledger::default());
    tracker.saw(id(0, 0), false);
    assert_eq!(tracker.report(&mut ledger), 1);
    assert_eq!(ledger.settle(&BTreeMap::from([(0, &sent)])).lost, 1);
}

#[test]
fn a_backlog_of_unknown_origin_must_have_no_gap() {
    let (mut tracker, mut ledger) = (Tracker::default(), Ledger::default());
    for seq in [0, 1, 4] {
        tracker.saw(id(5, seq), false);
    }
    tracker.report(&mut ledger);
    assert_eq!(ledger.settle_alone(), Faults { lost: 2, ..Faults::default() });
}

/// The rules again, in the plainest form: one message at a time, everything remembered.
fn naive(deliveries: &[(usize, u16, u64, bool)], published: &[u64]) -> Faults {
    let mut faults = Faults::default();
    let mut seen = BTreeSet::new();
    let mut highest: BTreeMap<(usize, u16), u64> = BTreeMap::new();
    for &(consumer, producer, seq, redelivered) in deliveries {
        let new = seen.insert((producer, seq));
        let late = highest.get(&(consumer, producer)).is_some_and(|h| seq <= *h);
        if redelivered {
            faults.redelivered += 1;
            continue;
        }
        if !new {
            faults.duplicated += 1;
        } else if late {
            faults.out_of_order += 1;
        }
        let h = highest.entry((consumer, producer)).or_default();
        *h = (*h).max(seq);
    }
    for &(producer, seq) in &seen {
        match published.get(usize::from(producer)) {
            Some(n) if seq >= *n => faults.corrupt += 1,
            Some(_) => {}
            None => faults.misrouted += 1,
        }
    }
    for (producer, n) in (0u16..).zip(published) {
        faults.lost += (0..*n).filter(|seq| !seen.contains(&(producer, *seq))).count() as u64;
    }
    faults
}

fn deliveries() -> impl Strategy<Value = Vec<(usize, u16, u64, bool)>> {
    // Mostly runs in order, with jumps, as real faults look.
    let step = (0usize..2, 0u16..3, 0u64..60, 1u64..20, prop::bool::weighted(0.1));
    prop::collection::vec(step, 0..20).prop_map(|steps| {
        let run =
            |(c, p, start, n, again): (usize, u16, u64, u64, bool)| (start..start + n).map(move |s| (c, p, s, again));
        steps.into_iter().flat_map(run).collect()
    })
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model(deliveries in deliveries(), published in prop::collection::vec(0u64..80, 1..3), batch in 1usize..9) {
        let mut trackers = [Tracker::default(), Tracker::default()];
        let mut ledger = Ledger::default();
        let mut unique = 0;
        // Each batch is one consumer's read, so a change of consumer ends it: the ledger sees messages as they came.
        for chunk in deliveries.chunks(batch) {
            for part in chunk.chunk_by(|a, b| a.0 == b.0) {
                for &(c, p, seq, again) in part {
                    trackers[c].saw(id(p, seq), again);
                }
                unique += trackers[part[0].0].report(&mut ledger);
            }
        }
        let sent: Vec<Sent> = published.iter().map(|n| sent(*n)).collect();
        let expected = (0u16..).zip(&sent).collect();
        prop_assert_eq!(ledger.settle(&expected), naive(&deliveries, &published));
        let all: BTreeSet<_> = deliveries.iter().map(|d| (d.1, d.2)).collect();
        prop_assert_eq!(unique, all.len() as u64);
    }
}
