use proptest::prelude::*;

use super::*;
use crate::auth::{Hashing, Permissions, TopicPermission, User};
use crate::frames::{Table, Value};
use crate::persist::record::{
    ApplyTo, BindingRecord, ExchangeRecord, GlobalParameterRecord, ParameterRecord, PermissionRecord, PolicyRecord,
    QueueRecord, TopicPermissionRecord, VhostLimitsRecord, VhostRecord,
};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        prop::num::f32::ANY.prop_map(Value::F32),
        prop::num::f64::ANY.prop_map(Value::F64),
        any::<(u8, u32)>().prop_map(|(scale, v)| Value::Decimal(scale, v)),
        any::<String>().prop_map(Value::text),
        any::<Vec<u8>>().prop_map(Value::LongStr),
        any::<u64>().prop_map(Value::Timestamp),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        Just(Value::Void),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((".{0,8}", inner), 0..4).prop_map(|t| Value::Table(t.into_iter().collect())),
        ]
    })
}

fn table() -> impl Strategy<Value = Table> {
    prop::collection::vec((".{0,12}", value()), 0..4).prop_map(|entries| entries.into_iter().collect())
}

fn apply_to() -> impl Strategy<Value = ApplyTo> {
    prop::sample::select(vec![ApplyTo::All, ApplyTo::Queues, ApplyTo::ClassicQueues, ApplyTo::Exchanges])
}

fn definition() -> impl Strategy<Value = String> {
    prop::collection::btree_map(".{0,8}", any::<i64>(), 0..3).prop_map(|map| serde_json::to_string(&map).unwrap())
}

fn record() -> impl Strategy<Value = Record> {
    let text = || ".{0,10}";
    let hash = || prop::option::of("[a-zA-Z0-9+/]{4}");
    let hashing = || prop::sample::select(Hashing::ALL.to_vec());
    prop_oneof![
        (text(), text(), prop::collection::vec(text(), 0..3), prop::option::of(text()), any::<Option<bool>>())
            .prop_map(|(name, description, tags, default_queue_type, protected)| {
                Record::Vhost(VhostRecord { name, description, tags, default_queue_type, protected })
            }),
        (text(), hash(), hashing(), prop::collection::vec(text(), 0..3), any::<Option<i64>>(), any::<Option<i64>>())
            .prop_map(|(name, password_hash, hashing, tags, max_connections, max_channels)| {
                Record::User(User { name, password_hash, hashing, tags, max_connections, max_channels })
            }),
        (text(), text(), text(), text(), text()).prop_map(|(user, vhost, configure, write, read)| {
            Record::Permission(PermissionRecord { user, vhost, permissions: Permissions { configure, write, read } })
        }),
        (text(), text(), text(), text(), text()).prop_map(|(user, vhost, exchange, write, read)| {
            let permission = TopicPermission { exchange, write, read };
            Record::TopicPermission(TopicPermissionRecord { user, vhost, permission })
        }),
        (text(), text(), text(), any::<(bool, bool)>(), table(), any::<u64>()).prop_map(
            |(vhost, name, kind, (auto_delete, internal), arguments, id)| {
                let durable = true;
                Record::Exchange(ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id })
            }
        ),
        (text(), text(), text(), any::<bool>(), any::<i64>(), apply_to(), definition()).prop_map(
            |(vhost, name, pattern, operator, priority, apply_to, definition)| {
                Record::Policy(PolicyRecord { vhost, name, operator, pattern, apply_to, priority, definition })
            }
        ),
        (text(), any::<Option<i64>>(), any::<Option<i64>>()).prop_map(|(vhost, max_connections, max_queues)| {
            Record::VhostLimits(VhostLimitsRecord { vhost, max_connections, max_queues })
        }),
        (text(), text(), text(), definition()).prop_map(|(vhost, component, name, value)| {
            Record::Parameter(ParameterRecord { vhost, component, name, value })
        }),
        (text(), definition()).prop_map(|(name, value)| Record::GlobalParameter(GlobalParameterRecord { name, value })),
        (text(), text(), any::<bool>(), table(), 1..=u64::MAX).prop_map(|(vhost, name, auto_delete, arguments, id)| {
            Record::Queue(QueueRecord { vhost, name, durable: true, auto_delete, arguments, id })
        }),
        (text(), text(), text(), any::<bool>(), text(), table()).prop_map(
            |(vhost, source, destination, to_exchange, key, arguments)| {
                Record::Binding(BindingRecord { vhost, source, destination, to_exchange, key, arguments })
            }
        ),
    ]
}

/// Compares to the bit: a NaN is not equal to itself.
fn encoded(records: &[Record]) -> Vec<u8> {
    postcard::to_stdvec(records).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_record_comes_back_exactly(mut records in prop::collection::vec(record(), 0..6)) {
        let (mut back, _) = read(&write(records.clone()).unwrap()).unwrap();
        prop_assert!(back.is_sorted_by_key(Record::rank));
        // Within a kind they are as they were.
        back.sort_by_key(|record| record.key()[0]);
        records.sort_by_key(|record| record.key()[0]);
        prop_assert_eq!(encoded(&back), encoded(&records));
    }
}

#[test]
fn the_deepest_table_comes_back() {
    let mut value = Value::U8(1);
    for level in 0..crate::frames::table::MAX_DEPTH - 1 {
        value =
            if level % 2 == 0 { Value::Array(vec![value]) } else { Value::Table([("t", value)].into_iter().collect()) };
    }
    let arguments: Table = [("deep", value)].into_iter().collect();
    let queue =
        QueueRecord { vhost: "/".into(), name: "q".into(), durable: true, auto_delete: false, arguments, id: 1 };
    let records = vec![Record::Queue(queue)];
    assert_eq!(read(&write(records.clone()).unwrap()).unwrap().0, records);
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let vhost = VhostRecord { description: "d".into(), ..crate::vhost::broker::default_vhost("/") };
    let bytes = write(vec![Record::Vhost(vhost)]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn it_is_what_rabbitmq_writes_and_a_little_more() {
    let arguments =
        [("x-max-length", Value::I32(5)), ("x-overflow", Value::text("reject-publish"))].into_iter().collect();
    let user = User { password_hash: Some("kI3G".into()), tags: vec!["administrator".into()], ..User::new("guest") };
    let records = vec![
        Record::User(user),
        Record::Queue(QueueRecord {
            vhost: "/".into(),
            name: "orders".into(),
            durable: true,
            auto_delete: false,
            arguments,
            id: 0xfeed,
        }),
        Record::Binding(BindingRecord {
            vhost: "/".into(),
            source: "amq.topic".into(),
            destination: "orders".into(),
            to_exchange: false,
            key: "order.#".into(),
            arguments: [("x-match", Value::text("all"))].into_iter().collect(),
        }),
    ];
    let json: Json = serde_json::from_slice(&write(records).unwrap()).unwrap();
    let at = |pointer: &str| json.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/users/0/hashing_algorithm"), "rabbit_password_hashing_sha256");
    assert_eq!(at("/users/0/password_hash"), "kI3G");
    assert_eq!(at("/users/0/tags/0"), "administrator");
    assert_eq!(at("/queues/0/arguments/x-max-length"), 5);
    assert_eq!(at("/queues/0/arguments/x-overflow"), "reject-publish");
    assert_eq!(at("/queues/0/store_id"), "000000000000feed");
    assert_eq!(at("/bindings/0/destination_type"), "queue");
    assert_eq!(at("/bindings/0/routing_key"), "order.#");
    // A longstr needs nothing beside it.
    assert_eq!(at("/bindings/0/arguments_amqp"), Json::Null);
    assert_eq!(at("/policies"), Json::Array(vec![]));
}

#[test]
fn policies_and_limits_stand_where_rabbitmq_has_them() {
    let policy = |operator| PolicyRecord {
        vhost: "/".into(),
        name: "p".into(),
        operator,
        pattern: "^a".into(),
        apply_to: ApplyTo::ClassicQueues,
        priority: 7,
        definition: r#"{"max-length":5}"#.into(),
    };
    let limits = VhostLimitsRecord { vhost: "/".into(), max_connections: Some(3), max_queues: None };
    let records = vec![Record::Policy(policy(false)), Record::Policy(policy(true)), Record::VhostLimits(limits)];
    let json: Json = serde_json::from_slice(&write(records).unwrap()).unwrap();
    let value = serde_json::json!({
        "pattern": "^a", "apply-to": "classic_queues", "priority": 7, "definition": {"max-length": 5}
    });
    let named = |mut json: Json, more: &[(&str, &str)]| {
        for (key, value) in [("vhost", "/")].iter().chain(more) {
            json[*key] = (*value).into();
        }
        json
    };
    assert_eq!(json["policies"], Json::Array(vec![named(value.clone(), &[("name", "p")])]));
    let parameter = |component, name, value: Json| {
        named(serde_json::json!({ "value": value }), &[("component", component), ("name", name)])
    };
    let operator = parameter("operator_policy", "p", value);
    let limits = parameter("vhost-limits", "limits", serde_json::json!({"max-connections": 3}));
    assert_eq!(json["parameters"], Json::Array(vec![operator, limits]));
}
