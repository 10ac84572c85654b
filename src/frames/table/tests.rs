use proptest::prelude::*;

use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Value::F32),
        any::<f64>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Value::F64),
        any::<(u8, u32)>().prop_map(|(s, v)| Value::Decimal(s, v)),
        any::<Vec<u8>>().prop_map(Value::LongStr),
        any::<u64>().prop_map(Value::Timestamp),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        Just(Value::Void),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[a-z]{0,8}", inner), 0..6).prop_map(|v| Value::Table(v.into_iter().collect())),
        ]
    })
}

fn any_table() -> impl Strategy<Value = Table> {
    prop::collection::vec(("[a-zA-Z-]{0,12}", any_value()), 0..8).prop_map(|v| v.into_iter().collect())
}

fn encoded(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out
}

proptest! {
    #[test]
    fn a_table_comes_back_as_it_was_written(table in any_table()) {
        let bytes = encoded(&table);
        let inside = Reader::new(&bytes).long_bytes().unwrap();
        prop_assert_eq!(validate(inside, true), Ok(()));
        prop_assert_eq!(Table::parse(inside).unwrap(), table);
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_harm(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(validate(&bytes, true).is_ok(), Table::parse(&bytes).is_ok());
    }

    #[test]
    fn amq_protocol_reads_what_we_write(table in any_table()) {
        use amq_protocol::types::parsing::parse_field_table;
        let bytes = encoded(&table);
        let (rest, theirs) = parse_field_table(&bytes[..]).unwrap();
        prop_assert!(rest.is_empty());
        for (key, _) in table.iter() {
            prop_assert!(theirs.inner().contains_key(key));
        }
    }
}

#[test]
fn every_letter_of_rabbitmq_is_read_and_others_are_refused() {
    let cases: [(&[u8], Value); 4] = [
        (b"L\xff\xff\xff\xff\xff\xff\xff\xff", Value::I64(-1)),
        (b"t\x07", Value::Bool(true)),
        (b"s\xff\xfe", Value::I16(-2)),
        (b"V", Value::Void),
    ];
    for (bytes, value) in cases {
        assert_eq!(ValueRef::read(&mut Reader::new(bytes)).unwrap().to_owned().unwrap(), value);
    }
    assert_eq!(ValueRef::read(&mut Reader::new(b"U\0\0")), Err(DecodeError::UnknownFieldType(b'U')));
}

#[test]
fn nesting_is_limited() {
    let mut inside = vec![b'V'];
    for _ in 0..200 {
        let mut outer = vec![b'A'];
        outer.extend(u32::try_from(inside.len()).unwrap().to_be_bytes());
        outer.extend(&inside);
        inside = outer;
    }
    let mut table = vec![1, b'k'];
    table.extend(inside);
    assert_eq!(validate(&table, true), Err(DecodeError::TooDeep));
    assert_eq!(Table::parse(&table), Err(DecodeError::TooDeep));
}
