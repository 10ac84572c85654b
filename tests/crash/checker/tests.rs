use super::*;

const Q: Queue = "q";

fn id(sequence: u32) -> Id {
    Id { publisher: 1, sequence }
}

/// A checker that has seen these messages confirmed in `q`.
fn confirmed(sequences: std::ops::Range<u32>) -> Checker {
    let mut checker = Checker::new();
    for sequence in sequences {
        checker.published(id(sequence), &[Q], true);
        checker.confirmed(id(sequence), &[Q]);
    }
    checker
}

fn ids(sequences: &[u32], redelivered: bool) -> Vec<(Id, bool)> {
    sequences.iter().map(|sequence| (id(*sequence), redelivered)).collect()
}

#[track_caller]
fn expect(checker: &Checker, lost: u64, unflagged: u64, reordered: u64, unexpected: u64) {
    let counts = checker.counts();
    let got = (counts.lost, counts.unflagged, counts.reordered, counts.unexpected);
    assert_eq!(got, (lost, unflagged, reordered, unexpected), "{:?}", checker.faults());
    assert_eq!(counts.is_flawless(), got == (0, 0, 0, 0));
    assert_eq!(checker.faults().is_empty(), counts.is_flawless());
}

#[test]
fn a_quiet_life_has_no_faults() {
    let mut checker = confirmed(0..3);
    for n in 0..3 {
        checker.delivered(Q, 1, id(n), false);
        checker.acked(Q, id(n));
        checker.certain(Q, id(n));
    }
    checker.restarted();
    checker.inspected(Q, &[]);
    expect(&checker, 0, 0, 0, 0);
    assert_eq!((checker.counts().published, checker.counts().confirmed, checker.counts().delivered), (3, 3, 3));
}

#[test]
fn a_confirmed_message_that_is_not_there_is_lost_once() {
    let mut checker = confirmed(0..3);
    checker.restarted();
    checker.inspected(Q, &ids(&[0, 2], false));
    expect(&checker, 1, 0, 0, 0);
    checker.restarted();
    checker.inspected(Q, &ids(&[0, 2], true));
    expect(&checker, 1, 0, 0, 0);
}

#[test]
fn a_message_that_was_delivered_but_not_acked_must_be_there() {
    let mut checker = confirmed(0..1);
    checker.delivered(Q, 1, id(0), false);
    checker.restarted();
    checker.inspected(Q, &[]);
    expect(&checker, 1, 0, 0, 0);
}

#[test]
fn a_confirm_is_for_every_queue() {
    let mut checker = Checker::new();
    checker.published(id(0), &[Q, "r"], true);
    checker.confirmed(id(0), &[Q, "r"]);
    checker.restarted();
    checker.inspected(Q, &ids(&[0], false));
    checker.inspected("r", &[]);
    expect(&checker, 1, 0, 0, 0);
}

#[test]
fn what_was_not_confirmed_may_be_there_or_not_but_does_not_change_its_mind() {
    let mut checker = Checker::new();
    for n in 0..2 {
        checker.published(id(n), &[Q], true);
    }
    checker.restarted();
    checker.inspected(Q, &ids(&[1], false));
    expect(&checker, 0, 0, 0, 0);

    checker.restarted();
    checker.inspected(Q, &ids(&[0], false));
    expect(&checker, 1, 0, 0, 1);
}

#[test]
fn an_ack_that_nothing_came_after_may_be_forgotten() {
    let mut checker = confirmed(0..2);
    for n in 0..2 {
        checker.delivered(Q, 1, id(n), false);
        checker.acked(Q, id(n));
    }
    checker.restarted();
    checker.inspected(Q, &ids(&[1], true));
    expect(&checker, 0, 0, 0, 0);
    assert_eq!(checker.counts().redelivered, 1);
}

#[test]
fn to_be_missing_after_a_restart_is_certain_and_before_it_is_not() {
    let mut checker = confirmed(0..2);
    for n in 0..2 {
        checker.delivered(Q, 1, id(n), false);
        checker.acked(Q, id(n));
    }
    checker.inspected(Q, &[]);
    checker.restarted();
    checker.inspected(Q, &ids(&[1], true));
    expect(&checker, 0, 0, 0, 0);
    checker.restarted();
    checker.inspected(Q, &ids(&[0, 1], true));
    expect(&checker, 0, 0, 0, 1);
}

#[test]
fn an_ack_that_is_certain_may_not() {
    let mut checker = confirmed(0..1);
    checker.delivered(Q, 1, id(0), false);
    checker.acked(Q, id(0));
    checker.certain(Q, id(0));
    checker.restarted();
    checker.inspected(Q, &ids(&[0], true));
    expect(&checker, 0, 0, 0, 1);
}

#[test]
fn an_acked_message_does_not_come_back_while_the_broker_runs() {
    let mut checker = confirmed(0..1);
    checker.delivered(Q, 1, id(0), false);
    checker.acked(Q, id(0));
    checker.delivered(Q, 2, id(0), true);
    expect(&checker, 0, 0, 0, 1);
}

#[test]
fn a_second_delivery_carries_the_flag() {
    let mut checker = confirmed(0..1);
    checker.delivered(Q, 1, id(0), false);
    checker.requeued(Q, id(0));
    checker.delivered(Q, 2, id(0), true);
    checker.restarted();
    expect(&checker, 0, 0, 0, 0);
    checker.delivered(Q, 3, id(0), false);
    expect(&checker, 0, 1, 0, 0);
}

#[test]
fn a_message_is_out_only_once_at_a_time() {
    let mut checker = confirmed(0..1);
    checker.delivered(Q, 1, id(0), false);
    checker.delivered(Q, 2, id(0), true);
    expect(&checker, 0, 0, 0, 1);
}

#[test]
fn a_consumer_gets_a_publishers_messages_in_order() {
    let mut checker = confirmed(0..6);
    checker.delivered(Q, 1, id(0), false);
    checker.delivered(Q, 2, id(2), false);
    checker.delivered(Q, 1, id(1), false);
    checker.delivered(Q, 1, id(4), false);
    checker.requeued(Q, id(2));
    checker.delivered(Q, 1, id(2), true);
    expect(&checker, 0, 0, 0, 0);
    checker.delivered(Q, 1, id(3), false);
    expect(&checker, 0, 0, 1, 0);
}

#[test]
fn a_queue_stands_in_order_whatever_the_flags() {
    let mut checker = confirmed(0..4);
    checker.restarted();
    checker.inspected(Q, &[(id(0), false), (id(2), true), (id(1), true), (id(3), false)]);
    expect(&checker, 0, 0, 1, 0);
}

#[test]
fn earlier_runs_stand_before_later_ones() {
    let late = Id { publisher: 2, sequence: 0 };
    let mut checker = confirmed(0..1);
    checker.restarted();
    checker.published(late, &[Q], true);
    checker.inspected(Q, &[(late, false), (id(0), false)]);
    expect(&checker, 0, 0, 1, 0);
}

#[test]
fn transient_messages_do_not_survive() {
    let mut checker = Checker::new();
    for n in 0..2 {
        checker.published(id(n), &[Q], false);
        checker.confirmed(id(n), &[Q]);
    }
    checker.delivered(Q, 1, id(0), false);
    checker.restarted();
    checker.inspected(Q, &[]);
    expect(&checker, 0, 0, 0, 0);
    checker.delivered(Q, 2, id(1), false);
    expect(&checker, 0, 0, 0, 1);
}

#[test]
fn transient_messages_are_not_lost_while_the_broker_runs() {
    let mut checker = Checker::new();
    checker.published(id(0), &[Q], false);
    checker.confirmed(id(0), &[Q]);
    checker.inspected(Q, &[]);
    expect(&checker, 1, 0, 0, 0);
}

#[test]
fn what_nobody_published_there_is_unexpected() {
    let mut checker = confirmed(0..1);
    checker.delivered(Q, 1, id(7), false);
    checker.delivered("other", 2, id(0), false);
    checker.damaged(Q, "a body of another length");
    expect(&checker, 0, 0, 0, 3);
}

#[test]
fn purged_messages_may_come_back_until_the_purge_is_certain() {
    let mut checker = confirmed(0..2);
    checker.delivered(Q, 1, id(0), false);
    assert_eq!(checker.emptied(Q), [id(1)], "what is out is not purged");
    checker.restarted();
    checker.inspected(Q, &ids(&[0, 1], true));
    expect(&checker, 0, 0, 0, 0);

    checker.requeued(Q, id(0));
    checker.requeued(Q, id(1));
    let emptied = checker.emptied(Q);
    emptied.into_iter().for_each(|id| checker.certain(Q, id));
    checker.restarted();
    checker.inspected(Q, &ids(&[0], true));
    expect(&checker, 0, 0, 0, 1);
}

#[test]
fn without_acks_only_what_was_on_its_way_may_be_gone() {
    let mut checker = Checker::new();
    checker.expect_auto_acks(Q);
    for n in 0..5 {
        checker.published(id(n), &[Q], true);
        checker.confirmed(id(n), &[Q]);
    }
    // 1 was overtaken by 2, which cannot be; 3 may have been in flight.
    for n in [0, 2] {
        checker.delivered(Q, 1, id(n), false);
        checker.acked(Q, id(n));
    }
    checker.restarted();
    checker.inspected(Q, &ids(&[4], false));
    expect(&checker, 1, 0, 0, 0);
    assert_eq!(checker.counts().in_flight, 1);
    assert!(checker.faults()[0].contains("1.1 is lost"));
}

#[test]
fn depth_is_what_may_be_in_the_queue() {
    let mut checker = confirmed(0..3);
    checker.delivered(Q, 1, id(0), false);
    checker.acked(Q, id(0));
    assert_eq!(checker.depth(Q), 3);
    checker.certain(Q, id(0));
    assert_eq!(checker.depth(Q), 2);
}
