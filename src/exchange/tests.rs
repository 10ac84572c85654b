use proptest::prelude::*;

use super::*;
use crate::frames::Value;

/// The types that look at each binding by itself.
const KINDS: [Matching; 4] = [Matching::Direct, Matching::Fanout, Matching::Topic, Matching::Headers];

macro_rules! targets {
    ($($number:ty)*) => {
        $(impl Target for $number {
            fn lasting_name(&self) -> Cow<'_, str> {
                self.to_string().into()
            }
        })*
    };
}
targets! { u8 i32 u32 }

type Made = (String, Table, u8);

/// Routes to a sorted set.
pub fn routed<D: Target + Ord>(bindings: &Bindings<D>, key: &str, headers: &Table) -> Vec<D> {
    let mut encoded = Vec::new();
    headers.encode(&mut encoded);
    let mut out = Vec::new();
    let properties = Properties { headers: Some(&encoded[4..]), ..Properties::default() };
    bindings.route(&RouteInput { keys: &[key.as_bytes()], properties: &properties, now: 0 }, &mut out);
    out.sort();
    out.dedup();
    out
}

#[test]
fn type_names_are_the_protocols() {
    for kind in ExchangeType::ALL {
        assert_eq!(ExchangeType::parse(kind.name()), Some(kind));
    }
    assert_eq!(ExchangeType::parse("Direct"), None);
    assert_eq!(ExchangeType::parse(""), None);
}

#[test]
fn a_binding_is_its_destination_key_and_arguments_in_any_order() {
    let ab = Table::from_iter([("a", Value::I32(1)), ("b", Value::Void)]);
    let ba = Table::from_iter([("b", Value::Void), ("a", Value::I32(1))]);
    let wider = Table::from_iter([("a", Value::I64(1)), ("b", Value::Void)]);
    for kind in KINDS {
        let mut bindings = Bindings::new(&kind);
        assert!(bindings.bind("k", &ab, 1));
        assert!(!bindings.bind("k", &ba, 1));
        assert!(bindings.bind("k", &wider, 1));
        assert!(bindings.bind("k2", &ab, 1));
        assert!(bindings.bind("k", &ab, 2));
        assert_eq!(bindings.len(), 4);
        assert!(bindings.unbind("k", &ba, &1));
        assert!(!bindings.unbind("k", &ab, &1));
        assert!(!bindings.unbind("k", &Table::default(), &1));
        assert!(!bindings.unbind("k", &ab, &3));
        assert_eq!(bindings.len(), 3);
    }
}

#[test]
fn not_a_number_can_be_unbound() {
    let nan = Table::from_iter([("a", Value::F64(f64::NAN))]);
    let mut bindings = Bindings::new(&Matching::Headers);
    assert!(bindings.bind("", &nan, 1));
    assert!(!bindings.bind("", &nan, 1));
    assert!(bindings.unbind("", &nan, &1));
    assert!(bindings.is_empty());
}

#[test]
fn one_of_two_bindings_with_the_same_key_keeps_the_route() {
    let other = Table::from_iter([("note", Value::text("x"))]);
    for kind in [Matching::Direct, Matching::Fanout, Matching::Topic] {
        let mut bindings = Bindings::new(&kind);
        bindings.bind("k", &Table::default(), 1);
        bindings.bind("k", &other, 1);
        bindings.unbind("k", &Table::default(), &1);
        assert_eq!(routed(&bindings, "k", &Table::default()), [1], "{kind:?}");
        bindings.unbind("k", &other, &1);
        assert!(routed(&bindings, "k", &Table::default()).is_empty(), "{kind:?}");
    }
}

#[test]
fn direct_is_exact_and_fanout_ignores_the_key() {
    let mut direct = Bindings::new(&Matching::Direct);
    let mut fanout = Bindings::new(&Matching::Fanout);
    for (key, dest) in [("a", 1), ("a", 2), ("a.b", 3), ("", 4), ("*", 5)] {
        direct.bind(key, &Table::default(), dest);
        fanout.bind(key, &Table::default(), dest);
    }
    assert_eq!(routed(&direct, "a", &Table::default()), [1, 2]);
    assert_eq!(routed(&direct, "", &Table::default()), [4]);
    assert_eq!(routed(&direct, "b", &Table::default()), Vec::<i32>::new());
    assert_eq!(routed(&fanout, "whatever", &Table::default()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_hundred_thousand_destinations_go_one_by_one() {
    const N: u32 = 100_000;
    for kind in KINDS {
        let mut bindings = Bindings::new(&kind);
        let arguments = Table::from_iter([("type", Value::text("order"))]);
        (0..N).for_each(|dest| assert!(bindings.bind("same", &arguments, dest)));
        for dest in 0..N {
            assert_eq!(bindings.remove_destination(&dest), 1);
        }
        assert!(bindings.is_empty());
        assert!(routed(&bindings, "same", &arguments).is_empty());
    }
}

#[test]
fn a_hundred_thousand_bindings_of_one_destination_go_one_by_one() {
    for kind in KINDS {
        let mut bindings = Bindings::new(&kind);
        let key = |n: u32| format!("key.{n}");
        (0..100_000).for_each(|n| assert!(bindings.bind(&key(n), &Table::default(), 1)));
        (0..100_000).for_each(|n| assert!(bindings.unbind(&key(n), &Table::default(), &1)));
        assert!(bindings.is_empty());
    }
}

/// What happens to a set of bindings.
#[derive(Clone, Debug)]
enum Step {
    Bind(Made),
    Unbind(Made),
    Remove(u8),
}

fn made() -> impl Strategy<Value = Made> {
    let key = prop::sample::select(vec!["", "a", "b", "a.b", "*", "#", "a.#", "*.b", "#.#"]);
    let value = prop::sample::select(vec![Value::I32(1), Value::I64(1), Value::text("t"), Value::Void]);
    let x_match = prop::sample::select(vec!["all", "any", "all-with-x", "any-with-x"]);
    let arguments = prop::collection::btree_map(prop::sample::select(vec!["h", "i", "x-j"]), value, 0..3);
    (key, arguments, prop::option::of(x_match), 0..4u8).prop_map(|(key, arguments, x_match, dest)| {
        let x_match = x_match.map(|mode| ("x-match", Value::text(mode)));
        (key.to_owned(), arguments.into_iter().chain(x_match).collect(), dest)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => made().prop_map(Step::Bind),
        3 => made().prop_map(Step::Unbind),
        1 => (0..4u8).prop_map(Step::Remove),
    ]
}

fn canonical((key, arguments, dest): &Made) -> String {
    format!("{key} {dest} {:?}", arguments.clone().sorted())
}

/// Applies a step to the bindings and to a plain list, and compares the answers.
fn apply(step: Step, bindings: &mut Bindings<u8>, model: &mut Vec<Made>) {
    let position = |model: &[Made], made: &Made| model.iter().position(|m| canonical(m) == canonical(made));
    match step {
        Step::Bind(made) => {
            let is_new = position(model, &made).is_none();
            assert_eq!(bindings.bind(&made.0, &made.1, made.2), is_new);
            if is_new {
                model.push(made);
            }
        }
        Step::Unbind(made) => {
            let at = position(model, &made);
            assert_eq!(bindings.unbind(&made.0, &made.1, &made.2), at.is_some());
            at.map(|at| model.remove(at));
        }
        Step::Remove(dest) => {
            let before = model.len();
            model.retain(|made| made.2 != dest);
            assert_eq!(bindings.remove_destination(&dest), before - model.len());
        }
    }
}

/// The matching of one binding alone, in the plainest form.
fn matches(kind: &Matching, made: &Made, key: &str, headers: &Table) -> bool {
    match kind {
        Matching::Direct => made.0 == key,
        Matching::Fanout => true,
        Matching::Topic => topic::tests::matches(&made.0, key),
        Matching::Headers => headers::tests::matches(&made.1, headers),
        _ => false,
    }
}

proptest! {
    #[test]
    fn bindings_act_as_a_plain_list(
        kind in prop::sample::select(KINDS.to_vec()),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut bindings = Bindings::new(&kind);
        let mut model = Vec::new();
        let messages = [("", "h"), ("a", "i"), ("a.b", "x-j"), ("b", "k")];
        for step in steps {
            apply(step, &mut bindings, &mut model);
            prop_assert_eq!(bindings.len(), model.len());
            prop_assert_eq!(bindings.is_empty(), model.is_empty());
            for (key, header) in messages {
                let headers = Table::from_iter([(header, Value::U8(1))]);
                let mut expected: Vec<u8> =
                    model.iter().filter(|made| matches(&kind, made, key, &headers)).map(|made| made.2).collect();
                expected.sort();
                expected.dedup();
                prop_assert_eq!(routed(&bindings, key, &headers), expected);
            }
        }
        let made = |b: BindingRef<u8>| (b.key.to_owned(), b.arguments.clone(), *b.dest);
        let mut listed: Vec<_> = bindings.iter().map(|b| canonical(&made(b))).collect();
        let mut expected: Vec<_> = model.iter().map(canonical).collect();
        listed.sort();
        expected.sort();
        prop_assert_eq!(listed, expected);
    }
}
