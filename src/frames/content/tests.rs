use proptest::prelude::*;

use super::super::table::{Table, Value};
use super::*;

/// flags, then: headers {a: 1, BCC: []}, delivery mode, reply-to.
fn sample() -> Vec<u8> {
    let mut bytes = vec![0b0011_0010, 0];
    let headers: Table =
        [("a", Value::I32(1)), ("BCC", Value::Array(vec![])), ("z", Value::Void)].into_iter().collect();
    headers.encode(&mut bytes);
    bytes.extend([2, 3, b'o', b'l', b'd']);
    bytes
}

#[test]
fn properties_are_found() {
    let bytes = sample();
    let p = Properties::parse(&bytes).unwrap();
    assert!(p.is_persistent());
    assert_eq!(p.reply_to, Some(&b"old"[..]));
    assert_eq!(p.expiration, None);
}

#[test]
fn reply_to_is_exchanged_and_the_rest_stays() {
    let bytes = with_reply_to(&sample(), b"another");
    let p = Properties::parse(&bytes).unwrap();
    assert_eq!(p.reply_to, Some(&b"another"[..]));
    assert_eq!(p.headers, Properties::parse(&sample()).unwrap().headers);
}

#[test]
fn a_cut_list_closes_with_other_pieces_in_the_right_places() {
    let bytes = sample();
    let cut = Cut::open(&bytes).unwrap();
    assert_eq!(cut.headers, Properties::parse(&bytes).unwrap().headers);
    let closed = cut.close(None, Some(b"60"));
    assert_eq!(closed, [0b0001_0011, 0, 2, 3, b'o', b'l', b'd', 2, b'6', b'0']);
    let bare = [0x90, 1, 0, 0, 1, b't', 2];
    assert_eq!(Cut::open(&bare).unwrap().close(Some(&[]), None), [0xb0, 1, 0, 0, 1, b't', 0, 0, 0, 0, 2]);
}

#[test]
fn continuation_words_without_properties_are_read_over() {
    let continued = [0x10, 1, 0, 1, 0, 0, 2];
    assert_eq!(Properties::parse(&continued).unwrap().delivery_mode, Some(2));
    assert!(has_more_flags(&continued));
    assert_eq!(with_one_flag_word(&continued), [0x10, 0, 2]);
    assert_eq!(Properties::parse(&[0x10, 1, 0x80, 0, 2]), Err(DecodeError::UnknownProperties));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read_without_harm(bytes in any::<Vec<u8>>()) {
        if Properties::parse(&bytes).is_ok() {
            let _ = with_reply_to(&bytes, b"x");
            let cut = Cut::open(&bytes).unwrap();
            prop_assert_eq!(cut.close(cut.headers, cut.expiration), bytes);
        } else {
            let _ = Cut::open(&bytes);
        }
    }
}
