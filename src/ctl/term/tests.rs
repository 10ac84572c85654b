use serde_json::json;

use super::*;

fn table(value: &Json) -> Term {
    Term::read(value, Kind::Table)
}

#[test]
fn cells_are_as_rabbitmqctl_writes_them() {
    let arguments = table(&json!({ "x-max-length": 100, "x-dead-letter-exchange": "dlx" }));
    // Object keys come in no particular order from the HTTP API, and here in that of the text.
    assert!(matches!(
        arguments.cell().as_str(),
        "[{\"x-max-length\",100},{\"x-dead-letter-exchange\",\"dlx\"}]"
            | "[{\"x-dead-letter-exchange\",\"dlx\"},{\"x-max-length\",100}]"
    ));
    let nested = table(&json!({ "capabilities": { "basic.nack": true }, }));
    assert_eq!(nested.cell(), "[{\"capabilities\",[{\"basic.nack\",true}]}]");
    assert_eq!(table(&json!({})).cell(), "[]");
    assert_eq!(table(&json!([])).cell(), "[]");
    assert_eq!(Term::read(&json!(["monitoring", "policymaker"]), Kind::Atoms).cell(), "[monitoring, policymaker]");
    assert_eq!(Term::read(&json!([]), Kind::Atoms).cell(), "[]");
    assert_eq!(Term::read(&json!({ "max-length": 10 }), Kind::Json).cell(), "{\"max-length\":10}");
    assert_eq!(Term::read(&json!(null), Kind::Plain).cell(), "");
    assert_eq!(Term::read(&json!("AMQP 0-9-1"), Kind::Protocol).cell(), "{0,9,1}");
    assert_eq!(Term::read(&json!(1.5), Kind::Plain).cell(), "1.5");
    assert_eq!(Term::read(&json!("<n@h.1.7.3>"), Kind::Connection).cell(), "<n@h.1.7.0>");
}

#[test]
fn names_cannot_tear_a_row_apart() {
    assert_eq!(Term::text("a\tb\nc\u{1b}[1m").cell(), "a\\011b\\012c\\033[1m");
    assert_eq!(table(&json!({ "k\n": "v\"" })).cell(), "[{\"k\\012\",\"v\\\"\"}]");
    assert_eq!(Term::text("grüße").cell(), "grüße");
}

#[test]
fn json_names_the_types_of_tables() {
    let arguments = table(&json!({ "x-max-length": 100 }));
    assert_eq!(arguments.json(), json!([["x-max-length", "signedint", 100]]));
    assert_eq!(table(&json!({ "a": 5_000_000_000_i64 })).json(), json!([["a", "long", 5_000_000_000_i64]]));
    let nested = table(&json!({ "c": { "b": [true, "x"] } }));
    assert_eq!(nested.json(), json!([["c", "table", [["b", "array", [true, "x"]]]]]));
    assert_eq!(Term::Absent.json(), json!(""));
}

#[test]
fn erlang_has_binaries_and_atoms() {
    assert_eq!(Term::text("guest").erlang(), "<<\"guest\">>");
    assert_eq!(Term::read(&json!(["administrator"]), Kind::Atoms).erlang(), "[administrator]");
    assert_eq!(table(&json!({ "a": "b" })).erlang(), "[{<<\"a\">>,longstr,<<\"b\">>}]");
}
