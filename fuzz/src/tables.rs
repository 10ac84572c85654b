//! Field tables: the check, our parser and `amq-protocol`'s agree, and what is written reads the same again.

use std::collections::HashSet;

use amq_protocol::types::FieldTable;
use amq_protocol::types::parsing::parse_field_table;
use leveret::frames::{DecodeError, Table, Value, table};

pub fn run(data: &[u8]) {
    let checked = table::validate(data, true);
    let parsed = Table::parse(data);
    match (&checked, &parsed) {
        (Ok(()), Err(error)) => panic!("a table that was found good is not parsed: {error}"),
        // The check counts the values inside of the deepest table too.
        (Err(error), Ok(_)) => assert_eq!(*error, DecodeError::TooDeep),
        _ => {}
    }
    if checked.is_ok() {
        assert_eq!(table::validate(data, false), Ok(()));
    }
    let Ok(parsed) = parsed else { return };
    let encoded = encode(&parsed);
    assert_eq!(encoded.len(), data.len() + 4);
    let again = Table::parse(&encoded[4..]).expect("what was encoded is parsed");
    assert_eq!(encode(&again), encoded);
    lookups_agree(data, &parsed);
    if checked.is_ok() {
        oracle_agrees(data, &parsed);
    }
}

/// Looking a key up in the bytes finds what the parsed table has.
fn lookups_agree(data: &[u8], parsed: &Table) {
    assert_eq!(table::entries(data).count(), parsed.len());
    for (key, _) in parsed.iter() {
        let in_place = table::find(data, key.as_bytes()).expect("the key is there").to_owned().expect("it was parsed");
        let mut bytes = (Vec::new(), Vec::new());
        in_place.encode(&mut bytes.0);
        parsed.get(key).expect("the key is there").encode(&mut bytes.1);
        assert_eq!(bytes.0, bytes.1, "of key {key:?}");
    }
}

/// What the check lets pass, `amq-protocol` must be able to read, and must read alike.
fn oracle_agrees(data: &[u8], parsed: &Table) {
    let mut with_length = u32::try_from(data.len()).expect("inputs are small").to_be_bytes().to_vec();
    with_length.extend_from_slice(data);
    let (rest, theirs) = parse_field_table(&with_length[..]).expect("a checked table is readable");
    assert!(rest.is_empty());
    if has_duplicates(parsed) {
        return;
    }
    let ours = encode(&normal(parsed));
    assert_eq!(encode(&normal(&Table::from(&theirs))), ours);
    assert_eq!(encode(&normal(&Table::from(&FieldTable::from(parsed)))), ours);
}

fn encode(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out
}

/// Of a key that occurs twice, we keep both; the other parser has a map.
fn has_duplicates(table: &Table) -> bool {
    fn of_value(value: &Value) -> bool {
        match value {
            Value::Table(table) => has_duplicates(table),
            Value::Array(items) => items.iter().any(of_value),
            _ => false,
        }
    }
    let mut seen = HashSet::new();
    table.iter().any(|(key, value)| !seen.insert(key) || of_value(value))
}

/// All tables in order of their keys.
fn normal(table: &Table) -> Table {
    fn of_value(value: &Value) -> Value {
        match value {
            Value::Table(table) => Value::Table(normal(table)),
            Value::Array(items) => Value::Array(items.iter().map(of_value).collect()),
            other => other.clone(),
        }
    }
    table.iter().map(|(key, value)| (key, of_value(value))).collect::<Table>().sorted()
}
