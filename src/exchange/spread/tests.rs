use std::collections::HashMap;

use super::*;
use crate::exchange::{Bindings, Matching};
use crate::frames::{Properties, Table, Value};

const KEYS: usize = 20_000;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("customer {n}"))
}

fn pick(bindings: &Bindings<u32>, key: &str, properties: &Properties<'_>) -> Vec<u32> {
    let mut out = Vec::new();
    bindings.route(&RouteInput { keys: &[key.as_bytes(), b"CC"], properties, now: 0 }, &mut out);
    out
}

/// Where each key goes.
fn picks(bindings: &Bindings<u32>) -> Vec<u32> {
    let one = |key: String| pick(bindings, &key, &Properties::default());
    keys().map(|key| <[u32; 1]>::try_from(one(key)).expect("one destination")[0]).collect()
}

fn counts(picks: &[u32]) -> HashMap<u32, f64> {
    let mut counts = HashMap::new();
    picks.iter().for_each(|dest| *counts.entry(*dest).or_default() += 1.0);
    counts
}

const CONSISTENT: Matching = Matching::ConsistentHash(HashOn::RoutingKey);

fn bound(matching: &Matching, binding_keys: &[&str]) -> Bindings<u32> {
    let mut bindings = Bindings::new(matching);
    (0..).zip(binding_keys).for_each(|(dest, key)| assert!(bindings.bind(key, &Table::default(), dest)));
    bindings
}

#[test]
fn nobody_bound_takes_nothing() {
    for kind in [CONSISTENT, Matching::ModulusHash, Matching::Random] {
        assert!(pick(&bound(&kind, &[]), "key", &Properties::default()).is_empty());
    }
}

#[test]
fn consistent_hash_honours_weights() {
    let counts = counts(&picks(&bound(&CONSISTENT, &["1", "2", "3", "4"])));
    for (dest, share) in [(0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4)] {
        let found = counts[&dest] / KEYS as f64;
        assert!((found - share).abs() < 0.015, "{dest} gets {found}");
    }
}

#[test]
fn weights_of_several_bindings_add_up() {
    let mut twice = bound(&CONSISTENT, &["1", "3"]);
    twice.bind("2", &Table::default(), 0);
    assert_eq!(picks(&twice), picks(&bound(&CONSISTENT, &["3", "3"])));
    twice.unbind("1", &Table::default(), &0);
    assert_eq!(picks(&twice), picks(&bound(&CONSISTENT, &["2", "3"])));
    twice.remove_destination(&1);
    assert!(picks(&twice).iter().all(|dest| *dest == 0));
}

#[test]
fn a_destination_that_comes_takes_its_share_and_moves_nothing_else() {
    let mut bindings = bound(&CONSISTENT, &["5"; 9]);
    let before = picks(&bindings);
    bindings.bind("5", &Table::default(), 9);
    let after = picks(&bindings);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert!(moved.iter().all(|(_, to)| **to == 9));
    let share = moved.len() as f64 / KEYS as f64;
    assert!((share - 0.1).abs() < 0.01, "{share} of the keys have moved");
    // What it had goes back to where it was when it leaves.
    bindings.remove_destination(&9);
    assert_eq!(picks(&bindings), before);
}

/// Consumers rely on a key's queue over restarts and upgrades: these must never change.
#[test]
fn a_key_goes_where_it_always_went() {
    let first = |kind: &Matching| picks(&bound(kind, &["1"; 10])).into_iter().take(12).collect::<Vec<_>>();
    assert_eq!(first(&CONSISTENT), [0, 0, 1, 7, 4, 3, 4, 5, 0, 8, 9, 4]);
    assert_eq!(first(&Matching::ModulusHash), [8, 4, 2, 1, 5, 0, 7, 4, 2, 3, 2, 3]);
}

#[test]
fn modulus_hash_does_not_depend_on_the_order_of_bindings() {
    let mut other_way = Bindings::new(&Matching::ModulusHash);
    (0..10).rev().for_each(|dest| assert!(other_way.bind("", &Table::default(), dest)));
    other_way.bind("another binding of the same", &Table::default(), 3);
    let picks_here = picks(&bound(&Matching::ModulusHash, &["any"; 10]));
    assert_eq!(picks(&other_way), picks_here);
    let counts = counts(&picks_here);
    assert!((0..10).all(|dest| (counts[&dest] / KEYS as f64 - 0.1).abs() < 0.01), "{counts:?}");
}

#[test]
fn random_uses_all_alike_whatever_the_key() {
    let bindings = bound(&Matching::Random, &["any"; 10]);
    let always_the_same = std::iter::repeat_with(|| pick(&bindings, "key", &Properties::default())[0]);
    let counts = counts(&always_the_same.take(KEYS).collect::<Vec<_>>());
    assert!((0..10).all(|dest| (counts[&dest] / KEYS as f64 - 0.1).abs() < 0.02), "{counts:?}");
}

/// To how many of ten destinations these messages go, all with the same routing key.
fn reached(on: HashOn, messages: &[Properties<'_>]) -> usize {
    let bindings = bound(&Matching::ConsistentHash(on), &["1"; 10]);
    let mut picked: Vec<_> = messages.iter().flat_map(|properties| pick(&bindings, "same key", properties)).collect();
    picked.sort_unstable();
    picked.dedup();
    picked.len()
}

#[test]
fn what_is_hashed_decides_and_nothing_else() {
    let ids: Vec<String> = keys().take(100).collect();
    let by_id = |id: &'static str| HashOn::Header(id.as_bytes().into());
    let messages: Vec<_> =
        ids.iter().map(|id| Properties { message_id: Some(id.as_bytes()), ..Properties::default() }).collect();
    assert_eq!(reached(HashOn::Property(HashProperty::MessageId), &messages), 10);
    assert_eq!(reached(HashOn::Property(HashProperty::CorrelationId), &messages), 1);
    assert_eq!(reached(by_id("id"), &messages), 1);
    assert_eq!(reached(HashOn::RoutingKey, &messages), 1);
    let messages: Vec<_> = (0..100).map(|t| Properties { timestamp: Some(t), ..Properties::default() }).collect();
    assert_eq!(reached(HashOn::Property(HashProperty::Timestamp), &messages), 10);
    let encoded = |id: &String| {
        let mut encoded = Vec::new();
        Table::from_iter([("id", Value::text(id))]).encode(&mut encoded);
        encoded
    };
    let tables: Vec<_> = ids.iter().map(encoded).collect();
    let messages: Vec<_> =
        tables.iter().map(|table| Properties { headers: table.get(4..), ..Properties::default() }).collect();
    assert_eq!(reached(by_id("id"), &messages), 10);
    assert_eq!(reached(by_id("other"), &messages), 1);
}

#[test]
fn binding_keys_are_weights() {
    let check = |key: &str| {
        let checked = Bindings::<u32>::check(&CONSISTENT, key, &Table::default());
        checked.map_err(|e| e.to_string())
    };
    for key in ["1", "20", "+3", "007", "99999999999999999999"] {
        assert_eq!(check(key), Ok(()), "{key}");
    }
    for key in ["0", "-1", "-99999999999999999999"] {
        assert_eq!(check(key).unwrap_err(), "The binding key must be greater than 0", "{key}");
    }
    for (key, printed) in [("", "<<>>"), ("one", "<<\"one\">>"), ("1.5", "<<\"1.5\">>"), (" 1", "<<\" 1\">>")] {
        assert_eq!(check(key).unwrap_err(), format!("The binding key must be an integer: {printed}"));
    }
}

#[test]
fn a_local_random_exchange_wants_no_binding_key() {
    let check = |key| Bindings::<u32>::check(&Matching::LocalRandom, key, &Table::default());
    assert_eq!(check(""), Ok(()));
    assert_eq!(check("k").unwrap_err().to_string(), "Non empty binding 'k' key not permitted");
}
