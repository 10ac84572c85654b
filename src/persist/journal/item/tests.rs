use super::*;

fn parts(body: &[u8]) -> Parts<'_> {
    Parts { route: b"\x00\x01q", properties: &[0, 0], body }
}

/// Of a message in the tests' first route.
fn traits(due: u64, priority: u8) -> Traits {
    Traits { at: 1_700_000_000_000, due: NonZeroU64::new(due), priority, persistent: true, hidden: priority == 1 }
}

fn message(offset: u64, delivered: bool, traits: Traits, parts: Parts<'_>) -> Item<'_> {
    Item::Message { offset, delivered, traits, parts }
}

fn read(bytes: &[u8]) -> Vec<Item<'_>> {
    Items::new(bytes).collect::<Result<_, _>>().unwrap()
}

#[test]
fn items_are_read_as_written() {
    let mut bytes = Vec::new();
    let mut writer = ItemWriter(&mut bytes);
    let some = Ranges::from_iter([1, 2, 3, 9, 300]);
    writer.route(1_700_000_000_000, [(7, 100), (8, 0)].into_iter());
    writer.message(3, true, traits(0, 0), parts(b"body"));
    writer.ack(7, some.iter());
    writer.requeue(7, 2, some.iter());
    writer.requeue_until(7, 3, NonZeroU64::MAX, some.iter());
    writer.horizon(8, u64::MAX);
    writer.purge(8, 400, &some);
    writer.delivered(8, 3);
    writer.message(4, false, traits(u64::MAX, 255), parts(b"due"));
    writer.message(5, true, traits(0, 1), parts(b"first"));
    writer.seen(u64::MAX, |out| out.extend_from_slice(b"window"));
    writer.void();
    let items = read(&bytes);
    assert!(matches!(&items[0], Item::Route(r) if r.iter().eq([(7, 100), (8, 0)])));
    assert_eq!(items[1], message(3, true, traits(0, 0), parts(b"body")));
    assert_eq!(items[2], Item::Ack { queue: 7, positions: some.clone() });
    assert_eq!(items[3], Item::Requeue { queue: 7, count: 2, until: None, positions: some.clone() });
    let until = Some(NonZeroU64::MAX);
    assert_eq!(items[4], Item::Requeue { queue: 7, count: 3, until, positions: some.clone() });
    assert_eq!(items[5], Item::Horizon { queue: 8, position: u64::MAX });
    assert_eq!(items[6], Item::Purge { queue: 8, below: 400, kept: some });
    assert_eq!(items[7], Item::Delivered { queue: 8, below: 3 });
    assert_eq!(items[8], message(4, false, traits(u64::MAX, 255), parts(b"due")));
    assert_eq!(items[9], message(5, true, traits(0, 1), parts(b"first")));
    assert_eq!(items[10], Item::Seen { owner: u64::MAX, window: b"window" });
    assert_eq!(items[11], Item::Void);
}

#[test]
fn items_from_before_there_were_times_are_read() {
    // A route of two queues, and a message that had been delivered.
    let mut bytes = vec![1, 36, 0, 0, 0, 2, 0, 0, 0];
    [7, 100, 8, 0_u64].iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
    bytes.extend_from_slice(&[2, 13, 0, 0, 0, 3, 1, 3, 2, 0, 1, b'q', 0, 0, b'b', b'o', b'd', b'y']);
    let items = read(&bytes);
    assert!(matches!(&items[0], Item::Route(r) if r.iter().eq([(7, 100), (8, 0)])));
    assert_eq!(items[1], message(3, true, Traits::plain(0, true), parts(b"body")));
    assert_eq!(items.len(), 2);
}

#[test]
fn items_cut_off_anywhere_are_bad_and_end_the_reading() {
    let mut bytes = Vec::new();
    ItemWriter(&mut bytes).message(3, false, traits(5, 5), parts(b"body"));
    for end in 1..bytes.len() {
        assert!(Items::new(&bytes[..end]).eq([Err(BadItem)]), "{end}");
    }
}

#[test]
fn voids_and_routes_without_messages_are_not_written() {
    let mut bytes = vec![b'#'; 3];
    let mut writer = ItemWriter(&mut bytes);
    writer.route(1, [(1, 0)].into_iter());
    let first = writer.message(0, false, traits(0, 0), parts(b"one"));
    writer.route(1, [(2, 0), (3, 5)].into_iter());
    let second = writer.message(0, false, traits(0, 0), parts(b"two"));
    writer.message(1, false, traits(0, 0), parts(b"three"));
    writer.ack(4, std::iter::once(1..2));
    bytes[first] = VOID;
    bytes[second] = VOID;
    let entries = tidy(&mut bytes, 3);
    let entry = |queue, messages| Entry { queue, messages };
    assert_eq!(entries, [entry(2, 1), entry(3, 1), entry(4, 0)]);
    let items = read(&bytes[3..]);
    assert!(matches!(&items[0], Item::Route(r) if r.iter().eq([(2, 0), (3, 5)])));
    assert!(matches!(&items[1], Item::Message { offset: 1, .. }));
    assert!(matches!(&items[2], Item::Ack { queue: 4, .. }));
    assert_eq!(items.len(), 3);
}

#[test]
fn what_stands_between_a_route_and_its_messages_does_no_harm() {
    let mut bytes = Vec::new();
    let mut writer = ItemWriter(&mut bytes);
    writer.route(1, [(2, 0), (3, 5)].into_iter());
    let void = writer.message(0, false, traits(0, 0), parts(b"one"));
    writer.ack(3, std::iter::once(5..6));
    writer.message(1, false, traits(0, 0), parts(b"two"));
    bytes[void] = VOID;
    tidy(&mut bytes, 0);
    let items = read(&bytes);
    assert!(matches!(&items[0], Item::Ack { queue: 3, .. }));
    assert!(matches!(&items[1], Item::Route(r) if r.iter().eq([(2, 0), (3, 5)])));
    assert!(matches!(&items[2], Item::Message { offset: 1, .. }));
}

#[test]
fn a_commit_of_which_nothing_is_left_needs_no_write() {
    let mut bytes = Vec::new();
    let mut writer = ItemWriter(&mut bytes);
    writer.route(1, [(1, 0)].into_iter());
    let at = writer.message(0, false, traits(0, 0), parts(b"one"));
    bytes[at] = VOID;
    assert!(tidy(&mut bytes, 0).is_empty());
    assert!(bytes.is_empty());
}
