//! Looking into queues and delayed exchanges, moving, removing and cancelling, as a tired operator does it.

use super::broker::Broker;
use super::harness::{Done, ctl, tool};

fn put(broker: &Broker, path: &str, body: &str) {
    assert!(broker.put(path, body).status < 300, "{path}");
}

fn publish(broker: &Broker, exchange: &str, key: &str, properties: &str) {
    let body =
        format!(r#"{{"properties":{properties},"routing_key":"{key}","payload":"body","payload_encoding":"string"}}"#);
    let answer = broker.post(&format!("/api/exchanges/%2F/{exchange}/publish"), &body);
    assert_eq!(answer.status, 200, "{exchange} {key}");
}

/// A dead-letter queue with three messages, a queue for work, and an exchange that holds a message back.
fn broker() -> Broker {
    let broker = Broker::start();
    for queue in ["dead", "work"] {
        put(&broker, &format!("/api/queues/%2F/{queue}"), r#"{"durable":true}"#);
    }
    for n in 1..=3 {
        publish(&broker, "amq.default", "dead", &format!(r#"{{"message_id":"m{n}","headers":{{"n":{n}}}}}"#));
    }
    let delayed = r#"{"type":"x-delayed-message","arguments":{"x-delayed-type":"fanout"}}"#;
    put(&broker, "/api/exchanges/%2F/later", delayed);
    publish(&broker, "later", "k", r#"{"message_id":"d1","headers":{"x-delay":3600000}}"#);
    broker
}

fn quiet(broker: &Broker, words: &[&str]) -> String {
    ctl(broker, &[words, &["-q"]].concat()).good()
}

fn peek(broker: &Broker, words: &[&str]) -> Done {
    tool(broker, "rabbitmq-queues", &[&["peek", "-q"], words].concat())
}

/// The queues and how many messages are in them.
fn lengths(broker: &Broker) -> String {
    let mut lines: Vec<_> =
        quiet(broker, &["list_queues", "-s", "name", "messages"]).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join(" ").replace('\t', "=")
}

#[test]
fn dead_letters_are_seen_given_back_and_removed() {
    let broker = broker();
    let seen = quiet(&broker, &["peek_messages", "dead", "--header", "n=2"]);
    let (head, row) = seen.trim_end().split_once('\n').unwrap();
    assert_eq!(head, "position\texchange\trouting_key\tredelivered\tage\tpayload_bytes\tproperties");
    assert!(row.starts_with("1\t\tdead\tfalse\t") && row.contains(r#""message_id":"m2""#), "{row}");
    let json = quiet(&broker, &["peek_messages", "dead", "--formatter", "json", "--limit", "1"]);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&rows[0]["payload"], &rows[0]["position"]), (&"body".into(), &0.into()), "{rows}");

    assert_eq!(quiet(&broker, &["move_messages", "dead", "work", "--message-id", "m1"]), "Moved 1 messages\n");
    assert_eq!(lengths(&broker), "dead=2 work=1");
    put(&broker, "/api/exchanges/%2F/again", r#"{"type":"fanout"}"#);
    let bound = broker.post("/api/bindings/%2F/e/again/q/work", "{}");
    assert_eq!(bound.status, 201);
    assert_eq!(
        quiet(&broker, &["move_messages", "dead", "--to-exchange", "again", "--limit", "1"]),
        "Moved 1 messages\n"
    );
    assert_eq!(lengths(&broker), "dead=1 work=2");
    assert_eq!(quiet(&broker, &["purge_messages", "work", "--key", "^dead$", "--limit", "1"]), "Removed 1 messages\n");
    assert_eq!(lengths(&broker), "dead=1 work=1");
}

#[test]
fn what_is_not_there_is_named() {
    let broker = broker();
    let said = |words: &[&str], code| ctl(&broker, words).failed(code);
    for command in ["peek_messages", "move_messages", "purge_messages"] {
        let more: &[&str] = if command == "move_messages" { &["work"] } else { &["--key", "x"] };
        let words = [&[command, "nix"], more].concat();
        assert_eq!(said(&words, 65), "Error:\nno queue 'nix' in vhost '/'\n", "{command}");
    }
    assert_eq!(said(&["move_messages", "dead", "nix"], 65), "Error:\nno queue 'nix' in vhost '/'\n");
    assert_eq!(
        said(&["move_messages", "dead", "--to-exchange", "nix"], 65),
        "Error:\nno exchange 'nix' in vhost '/'\n"
    );
    assert!(
        said(&["move_messages", "dead", "--to-exchange", ""], 64).contains("the default exchange only knows queues")
    );
    assert_eq!(said(&["peek_messages", "-p", "v", "dead"], 65), "Virtual host 'v' does not exist\n");
    assert_eq!(said(&["list_delayed", "nix"], 65), "Error:\nno exchange 'nix' in vhost '/'\n");
    assert!(said(&["list_delayed", "amq.direct"], 69).contains("delays no messages"));
    assert!(said(&["peek_messages", "dead", "--older-than", "soon"], 65).contains("'soon' is no time such as 30s"));
    assert!(said(&["purge_messages", "dead"], 64).contains("purge_queue"));
    assert_eq!(lengths(&broker), "dead=3 work=0");
}

#[test]
fn a_delayed_message_is_seen_and_cancelled() {
    let broker = broker();
    let seen = quiet(&broker, &["list_delayed", "later", "--formatter", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let due_in = rows[0]["due_in"].as_u64().unwrap();
    assert!(rows[0]["message_id"] == "d1" && (3500..=3600).contains(&due_in), "{rows}");
    let text = ctl(&broker, &["cancel_delayed", "later", "d2"]).failed(65);
    assert_eq!(text, "Error:\nexchange 'later' holds no message 'd2' back\n");
    assert!(rows[0]["due"].as_u64().unwrap() > 1_700_000_000_000, "milliseconds for programs: {rows}");
    let table = quiet(&broker, &["list_delayed", "later", "-s"]);
    let cells: Vec<_> = table.trim_end().split('\t').collect();
    assert!(cells[0] == "d1" && cells[1].ends_with('Z') && cells[1].len() == "2026-01-01 00:00:00Z".len(), "{table}");
    assert!((cells[2] == "1h 0m" || cells[2].starts_with("59m")) && cells[5].ends_with('s'), "{table}");
    assert_eq!(quiet(&broker, &["cancel_delayed", "later", "d1"]), "Cancelled 1 messages\n");
    assert_eq!(quiet(&broker, &["list_delayed", "later", "-s"]), "");
}

#[test]
fn a_queue_with_priorities_is_shown_in_the_order_of_delivery() {
    let broker = broker();
    put(&broker, "/api/queues/%2F/urgent", r#"{"durable":true,"arguments":{"x-max-priority":9}}"#);
    for (id, priority) in [("low", 1), ("high", 7), ("none", 0), ("high too", 7)] {
        let properties = format!(r#"{{"message_id":"{id}","priority":{priority}}}"#);
        publish(&broker, "amq.default", "urgent", &properties);
    }
    let seen = quiet(&broker, &["peek_messages", "urgent", "--formatter", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&seen).unwrap();
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["properties"]["message_id"].clone()).collect();
    assert_eq!(ids, ["high", "high too", "low", "none"]);
    let nth = |place: &str| peek(&broker, &["urgent", place]).good();
    assert!(nth("1").contains("\"high\"") && nth("2").contains("\"high too\"") && nth("4").contains("\"none\""));
    peek(&broker, &["urgent", "5"]).failed(65);
}

#[test]
fn a_place_in_a_queue_counts_what_waits() {
    let broker = broker();
    quiet(&broker, &["purge_messages", "dead", "--message-id", "m1"]);
    assert!(peek(&broker, &["dead", "1"]).good().contains("\"m2\""));
    assert!(peek(&broker, &["dead", "2"]).good().contains("\"m3\""));
    peek(&broker, &["dead", "3"]).failed(65);
}

#[test]
fn a_plan_says_how_many_messages_go_and_an_import_repeats_its_warnings() {
    let broker = broker();
    let file = broker.socket().with_file_name("definitions.json");
    let path = file.display().to_string();
    let kept = r#"{"name":"work","vhost":"/","durable":true,"auto_delete":false,"arguments":{},"colour":"red"}"#;
    std::fs::write(&file, format!(r#"{{"vhosts":[{{"name":"/"}}],"queues":[{kept}],"exchanges":[]}}"#)).unwrap();
    let plan = ctl(&broker, &["definitions", "plan", "-q", "--prune", &path]).out;
    assert!(plan.contains("- queue 'dead' in vhost '/': 3 messages go with it\n"), "{plan}");
    let held_back = plan.lines().find(|line| line.contains("exchange 'later' in vhost '/'"));
    assert!(held_back.is_some_and(|line| line.contains(": 1 message")), "{plan}");
    assert_eq!(quiet(&broker, &["list_queues", "-s", "name", "messages"]).lines().count(), 2, "nothing is gone");

    let warning = "warning: queues: unknown field 'colour' (1 items)\n";
    let done = ctl(&broker, &["import_definitions", "-q", &path]);
    assert_eq!((done.code, done.out.as_str()), (0, "Successfully imported definitions.\n"));
    assert_eq!(done.err, warning, "scripts read the output");
    let done = ctl(&broker, &["import_definitions", "-q", &path, "--formatter", "json"]);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (&json["result"], &json["warnings"][0]),
        (&"ok".into(), &"queues: unknown field 'colour' (1 items)".into())
    );
}

#[test]
fn limits_are_set_all_or_none() {
    let broker = broker();
    let text = ctl(&broker, &["set_user_limits", "guest", r#"{"max-channels":5,"max-conections":5}"#]).failed(69);
    let known = "only max-connections, max-channels, max-publish-rate, max-publish-bytes-rate, max-stored-bytes\n";
    assert_eq!(text, format!("Error:\nthere is no limit 'max-conections', {known}"));
    let text = ctl(&broker, &["set_user_limits", "guest", r#"{"max-channels":5,"max-connections":"x"}"#]).failed(69);
    assert_eq!(text, "Error:\nlimit 'max-connections' is a whole number, not \"x\"\n");
    assert_eq!(quiet(&broker, &["list_user_limits"]), "{}\n");
    quiet(&broker, &["set_user_limits", "guest", r#"{"max-channels":5}"#]);
    assert!(ctl(&broker, &["clear_user_limits", "guest", "max-queues"]).failed(69).contains("only all or max-conn"));
    assert_eq!(quiet(&broker, &["list_user_limits"]), "{\"max-channels\":5}\n");
    let text = ctl(&broker, &["set_vhost_limits", r#"{"max-queue":5}"#]).failed(69);
    assert!(text.contains("only max-connections, max-queues, "), "{text}");
}

#[test]
fn the_status_says_what_an_operator_looks_for() {
    let broker = broker();
    let text = quiet(&broker, &["status"]);
    let product = format!("Product: Leveret {}", env!("CARGO_PKG_VERSION"));
    for line in [
        &*product,
        "RabbitMQ version: 3.13.7",
        "Is running?: true",
        "Node data directory: ",
        "Memory high watermark: ",
        "Free disk space: ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}: {text}");
    }
    let json = quiet(&broker, &["status", "--formatter", "json"]);
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(status["pid"].is_u64() && status["listeners"].is_array(), "{status}");
}
