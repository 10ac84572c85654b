use super::*;

const ID: Id = Id { publisher: 1, sequence: 1 };

fn confirmed(route: Route) -> Ledger {
    let mut ledger = Ledger::new();
    ledger.published(ID, route, Instant::now());
    ledger.confirmed(ID);
    ledger
}

fn letter(route: Route) -> Table {
    let (queue, reason) = route.source().expect("a queue");
    let death = [("count", Value::I64(1)), ("reason", Value::text(reason)), ("queue", Value::text(queue))];
    let death = Value::Table(death.into_iter().collect());
    [("x-death", Value::Array(vec![death]))].into_iter().collect()
}

fn receive(ledger: &mut Ledger, place: Place, redelivered: bool) {
    let route = ledger.entries[&ID].route;
    ledger.received(place, ID, redelivered, &letter(route), Instant::now());
}

#[track_caller]
fn expect_fault(ledger: &Ledger, text: &str) {
    let faults = ledger.faults();
    assert!(faults.len() == 1 && faults[0].contains(text), "{faults:?}");
}

#[track_caller]
fn expect_none(ledger: &Ledger) {
    assert!(ledger.faults().is_empty(), "{:?}", ledger.faults());
}

#[test]
fn a_letter_comes_once_and_stays_away_when_it_is_acked() {
    let mut ledger = confirmed(Route::Timed);
    receive(&mut ledger, Place::Target, false);
    ledger.settled(Place::Target, ID, How::Ack);
    ledger.certain(Place::Target, ID);
    ledger.restarted();
    ledger.inspected(&BTreeSet::new());
    expect_none(&ledger);
    receive(&mut ledger, Place::Target, true);
    expect_fault(&ledger, "certainly settled");
}

#[test]
fn a_confirmed_message_that_is_nowhere_is_lost() {
    let mut ledger = confirmed(Route::Timed);
    ledger.restarted();
    assert_eq!(ledger.expected(), BTreeSet::from([ID]));
    ledger.inspected(&BTreeSet::new());
    expect_fault(&ledger, "is lost");
}

#[test]
fn a_rejected_message_must_be_somewhere() {
    let mut ledger = confirmed(Route::Rejected);
    receive(&mut ledger, Place::Source, false);
    ledger.settled(Place::Source, ID, How::Reject);
    ledger.certain(Place::Source, ID);
    ledger.restarted();
    ledger.inspected(&BTreeSet::new());
    expect_fault(&ledger, "is lost");
}

#[test]
fn an_unconfirmed_message_may_be_nowhere() {
    let mut ledger = Ledger::new();
    ledger.published(ID, Route::Full, Instant::now());
    ledger.restarted();
    ledger.inspected(&BTreeSet::new());
    expect_none(&ledger);
}

#[test]
fn a_message_in_both_places_is_seen_from_either() {
    for (first, second) in [(Place::Source, Place::Target), (Place::Target, Place::Source)] {
        let mut ledger = confirmed(Route::Timed);
        receive(&mut ledger, first, false);
        receive(&mut ledger, second, false);
        expect_fault(&ledger, "both places");
    }
}

#[test]
fn a_move_that_was_not_stored_may_happen_again() {
    let mut ledger = confirmed(Route::Rejected);
    receive(&mut ledger, Place::Source, false);
    ledger.settled(Place::Source, ID, How::Reject);
    receive(&mut ledger, Place::Target, false);
    ledger.settled(Place::Target, ID, How::Ack);
    ledger.restarted();
    receive(&mut ledger, Place::Source, true);
    ledger.settled(Place::Source, ID, How::Reject);
    receive(&mut ledger, Place::Target, false);
    expect_none(&ledger);
}

#[test]
fn but_not_when_the_letter_s_ack_was_stored() {
    let mut ledger = confirmed(Route::Rejected);
    receive(&mut ledger, Place::Source, false);
    ledger.settled(Place::Source, ID, How::Reject);
    receive(&mut ledger, Place::Target, false);
    ledger.settled(Place::Target, ID, How::Ack);
    ledger.certain(Place::Target, ID);
    ledger.restarted();
    receive(&mut ledger, Place::Source, true);
    expect_fault(&ledger, "certainly moved on");
}

#[test]
fn what_was_acked_at_the_source_does_not_move() {
    let mut ledger = confirmed(Route::Rejected);
    receive(&mut ledger, Place::Source, false);
    ledger.settled(Place::Source, ID, How::Ack);
    ledger.certain(Place::Source, ID);
    ledger.restarted();
    receive(&mut ledger, Place::Target, false);
    expect_fault(&ledger, "certainly acked");
}

#[test]
fn a_delayed_message_comes_in_time_and_says_so() {
    let delayed = |delay: i64| [("x-delay", Value::I64(delay))].into_iter().collect::<Table>();
    let start = Instant::now();
    for (ms_later, delay, fault) in
        [(100, -100, None), (99, -100, Some("came after")), (100, 100, Some("has the delay"))]
    {
        let mut ledger = Ledger::new();
        ledger.published(ID, Route::Delayed { ms: 100 }, start);
        let now = start + Duration::from_millis(ms_later);
        ledger.received(Place::Target, ID, false, &delayed(delay), now);
        match fault {
            None => expect_none(&ledger),
            Some(text) => expect_fault(&ledger, text),
        }
    }
}

#[test]
fn a_letter_must_say_why_it_died() {
    let mut ledger = confirmed(Route::Full);
    ledger.received(Place::Target, ID, false, &letter(Route::Timed), Instant::now());
    expect_fault(&ledger, "has died of");
}
