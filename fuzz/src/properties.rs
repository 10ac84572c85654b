//! Content properties: read as `amq-protocol` reads them, and changed without harm to what is not meant.

use amq_protocol::protocol::basic::{AMQPProperties, parse_properties};
use amq_protocol::types::ShortString;
use leveret::frames::{Properties, content, table};
use leveret::message::headers;

/// The first byte is the length of a reply address that follows; the rest is a property list.
pub fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (address, list) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(found) = Properties::parse(list) else { return };
    let theirs = oracle(list);
    if let Some(theirs) = &theirs {
        compare(&found, theirs);
    }
    reply_to_is_exchanged(list, address, &found, theirs.as_ref());
    further_flags_are_dropped(list, &found);
    let headers = found.headers.unwrap_or_default();
    let keys = table::entries(headers).map(|entry| entry.expect("headers were checked").0);
    for key in keys.chain([&b"BCC"[..], b""]).take(8) {
        header_is_left_out(list, key, &found);
    }
}

/// `None` where the other parser is stricter: it wants UTF-8 everywhere.
fn oracle(list: &[u8]) -> Option<AMQPProperties> {
    parse_properties(list).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, properties)| properties)
}

fn compare(ours: &Properties<'_>, theirs: &AMQPProperties) {
    let text = |value: &Option<ShortString>| value.as_ref().map(|s| s.as_str().as_bytes().to_vec());
    let pairs = [
        (ours.correlation_id, text(theirs.correlation_id())),
        (ours.reply_to, text(theirs.reply_to())),
        (ours.expiration, text(theirs.expiration())),
        (ours.message_id, text(theirs.message_id())),
        (ours.user_id, text(theirs.user_id())),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours, theirs.as_deref());
    }
    assert_eq!(ours.delivery_mode, *theirs.delivery_mode());
    assert_eq!(ours.priority, *theirs.priority());
    assert_eq!(ours.timestamp, *theirs.timestamp());
    assert_eq!(ours.headers.is_some(), theirs.headers().is_some());
}

fn reply_to_is_exchanged(list: &[u8], address: &[u8], before: &Properties<'_>, theirs: Option<&AMQPProperties>) {
    let changed = content::with_reply_to(list, address);
    let after = Properties::parse(&changed).expect("still a property list");
    if before.reply_to.is_none() {
        assert_eq!(changed, list);
        return;
    }
    assert_eq!(after, Properties { reply_to: Some(address), ..*before });
    // The fields that ours does not keep are compared through the other parser.
    if let (Some(before), Ok(address)) = (theirs, std::str::from_utf8(address)) {
        let expected = before.clone().with_reply_to(address.into());
        let after = oracle(&changed).expect("readable as before");
        assert_eq!(format!("{after:?}"), format!("{expected:?}"));
    }
}

fn further_flags_are_dropped(list: &[u8], before: &Properties<'_>) {
    let changed = content::with_one_flag_word(list);
    assert!(!content::has_more_flags(&changed));
    assert_eq!(Properties::parse(&changed).expect("still a property list"), *before);
    assert_eq!(changed == list, !content::has_more_flags(list));
}

fn header_is_left_out(list: &[u8], key: &[u8], before: &Properties<'_>) {
    let changed = headers::without(list, key);
    let after = Properties::parse(&changed).expect("still a property list");
    assert_eq!(Properties { headers: None, ..after }, Properties { headers: None, ..*before });
    assert_eq!(after.headers.is_some(), before.headers.is_some());
    let (before, after) = (before.headers.unwrap_or_default(), after.headers.unwrap_or_default());
    let kept = table::entries(before).map(Result::unwrap).filter(|(name, _)| *name != key);
    // Compared as text, since a NaN does not equal itself.
    let kept: Vec<_> = kept.map(|entry| format!("{entry:?}")).collect();
    let left: Vec<_> = table::entries(after).map(|entry| format!("{:?}", entry.unwrap())).collect();
    assert_eq!(left, kept);
    // Everything but the headers stays as it was, byte for byte.
    assert_eq!(changed.len() - after.len(), list.len() - before.len());
}
