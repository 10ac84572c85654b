use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::config::Config;
use crate::message::memory::MemoryAccount;
use crate::persist::catalog::NoCatalog;
use crate::vhost::{Broker, Command};

fn broker() -> Arc<Broker> {
    broker_with(Config::default())
}

fn broker_with(config: Config) -> Arc<Broker> {
    Broker::start(config, Box::new(NoCatalog), MemoryAccount::new(1 << 30), None).unwrap()
}

fn parse(json: &Json) -> Result<Definitions, Problems> {
    Definitions::parse(json.to_string().as_bytes(), Reading::default())
}

fn plan(broker: &Broker, json: &Json, mode: Mode) -> Plan {
    Plan::new(broker, parse(json).unwrap(), mode)
}

fn import(broker: &Broker, json: &Json) -> Result<(), Problems> {
    plan(broker, json, Mode::default()).carry_out(broker, "tester").map(drop)
}

fn prune() -> Mode {
    Mode { prune: true, ..Mode::default() }
}

fn exported(broker: &Broker, vhost: Option<&str>) -> Json {
    serde_json::from_slice(&export(broker, vhost).unwrap()).unwrap()
}

#[track_caller]
fn problem(json: Json) -> String {
    parse(&json).map(|found| found.records).unwrap_err().to_string()
}

/// As RabbitMQ 3.10 wrote it.
fn of_rabbitmq() -> Json {
    json!({
        "rabbit_version": "3.10.8", "rabbitmq_version": "3.10.8", "product_name": "RabbitMQ",
        "users": [
            {"name": "ann", "password_hash": "apXFQM5r6eL7jLU9FiPYMOVnZ6QPw19MXmc3dmMa745+K7Si",
             "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["monitoring", "policymaker"],
             "limits": {"max-connections": 5}},
            {"name": "nopw", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": [],
             "limits": {}}],
        "vhosts": [{"name": "/"}, {"name": "team"}],
        "permissions": [{"user": "ann", "vhost": "team", "configure": "^a", "write": ".*", "read": ".*"}],
        "topic_permissions": [
            {"user": "ann", "vhost": "team", "exchange": "amq.topic", "write": "^a", "read": ".*"}],
        "parameters": [
            {"value": {"expires": 3_600_000, "uri": "amqp://localhost"}, "vhost": "team",
             "component": "federation-upstream", "name": "up"},
            {"value": {"max-queues": 500}, "vhost": "team", "component": "vhost-limits", "name": "limits"},
            {"value": {"pattern": "^q", "definition": {"max-length": 5}, "priority": 2, "apply-to": "queues"},
             "vhost": "team", "component": "operator_policy", "name": "op"}],
        "global_parameters": [{"name": "cluster_tags", "value": {"region": "eu"}}],
        "policies": [
            {"vhost": "team", "name": "ha", "pattern": "^q", "apply-to": "queues",
             "definition": {"ha-mode": "all", "max-length": 5}, "priority": 2}],
        "queues": [
            {"name": "q1", "vhost": "team", "durable": true, "auto_delete": false,
             "arguments": {"x-max-length": 7, "x-queue-type": "quorum"}},
            {"name": "q2", "vhost": "team", "durable": false, "auto_delete": true, "arguments": {}}],
        "exchanges": [
            {"name": "e1", "vhost": "team", "type": "x-consistent-hash", "durable": true, "auto_delete": false,
             "internal": false, "arguments": {"hash-header": "h"}},
            {"name": "e2", "vhost": "team", "type": "headers", "durable": false, "auto_delete": false,
             "internal": true, "arguments": {}}],
        "bindings": [
            {"source": "e1", "vhost": "team", "destination": "q1", "destination_type": "queue", "routing_key": "1",
             "arguments": {}},
            {"source": "e1", "vhost": "team", "destination": "e2", "destination_type": "exchange",
             "routing_key": "2", "arguments": {"x": 1.5, "y": [1, "a"]}}]
    })
}

const SECTIONS: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

/// The items of a section, in no order, and of virtual hosts only the names: RabbitMQ 3.10 writes no more of them.
fn items(file: &Json, section: &str) -> Vec<String> {
    let all = file[section].as_array().unwrap();
    let text = |item: &Json| if section == "vhosts" { item["name"].to_string() } else { item.to_string() };
    let mut items: Vec<_> = all.iter().map(text).collect();
    items.sort();
    items
}

#[test]
fn what_rabbitmq_wrote_comes_out_as_it_went_in() {
    let mut config = Config::default();
    config.definitions.load.push("not used here".into());
    let broker = broker_with(config);
    import(&broker, &of_rabbitmq()).unwrap();
    assert!(broker.directory.authenticate("ann", b"secret").is_ok());
    let out = exported(&broker, None);
    for section in SECTIONS {
        assert_eq!(items(&out, section), items(&of_rabbitmq(), section), "{section}");
    }
    for again in [of_rabbitmq(), out] {
        let plan = plan(&broker, &again, prune());
        assert_eq!(Report::new(plan, false).text, "no differences\n");
    }
}

#[test]
fn the_sections_of_one_vhost_name_none() {
    let broker = broker();
    import(&broker, &of_rabbitmq()).unwrap();
    let out = exported(&broker, Some("team"));
    assert_eq!(out["queues"].as_array().unwrap().len(), 2);
    assert!(out.get("users").is_none() && out["queues"][0].get("vhost").is_none());
    broker.apply(Command::PutVhost(crate::vhost::broker::default_vhost("copy"))).unwrap();
    let reading = Reading { vhost: Some("copy"), ..Reading::default() };
    let copy = Definitions::parse(out.to_string().as_bytes(), reading).unwrap();
    Plan::new(&broker, copy, Mode::default()).carry_out(&broker, "tester").unwrap();
    let mut copied = exported(&broker, Some("copy"));
    (copied["explanation"], copied["original_vhost_name"]) =
        (out["explanation"].clone(), out["original_vhost_name"].clone());
    assert_eq!(copied, out);
}

#[test]
fn a_conflict_is_told_and_nothing_is_half_done() {
    let broker = broker();
    import(&broker, &json!({"queues": [{"name": "q", "vhost": "/", "durable": true}]})).unwrap();
    let file = json!({
        "queues": [{"name": "a", "vhost": "/"}, {"name": "q", "vhost": "/", "durable": false}],
        "exchanges": [{"name": "e", "vhost": "/", "type": "no-such-type"}]
    });
    let text = import(&broker, &file).unwrap_err().to_string();
    assert_eq!(
        text,
        "exchange 'e' in vhost '/': unknown exchange type 'no-such-type'\n\
         queue 'q' in vhost '/': inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is \
         'true'"
    );
    assert!(broker.vhost("/").unwrap().queue("a").is_none());
    // Left as it is, the rest can be had.
    let file = json!({"queues": file["queues"]});
    let skip = Mode { skip_conflicts: true, ..Mode::default() };
    plan(&broker, &file, skip).carry_out(&broker, "tester").unwrap();
    let vhost = broker.vhost("/").unwrap();
    assert!(vhost.queue("a").is_some() && vhost.queue("q").unwrap().spec.durable);
}

#[test]
fn problems_name_item_and_field() {
    let queue = |more: Json| {
        let mut queue = json!({"name": "q", "vhost": "/"});
        queue.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        problem(json!({ "queues": [queue] }))
    };
    assert_eq!(
        queue(json!({"durable": "yes"})),
        "queue 'q' in vhost '/', field 'durable': expected true or false, got a string"
    );
    assert_eq!(queue(json!({"vhost": null})), "queue 'q', field 'vhost': it is missing");
    assert_eq!(
        queue(json!({"name": "n".repeat(256)})).split_once(", ").unwrap().1,
        "field 'name': it has 256 bytes, a name has 255 at most"
    );
    assert_eq!(
        queue(json!({"arguments": 7})),
        "queue 'q' in vhost '/', field 'arguments': expected an object, got a number"
    );
    assert_eq!(problem(json!({"queues": {}})), "queues: expected a list, got an object");
    assert_eq!(problem(json!({"queues": [[]]})), "queues[0]: expected an object, got a list");
    assert_eq!(problem(json!({"queues": [{}]})).lines().next().unwrap(), "queues[0], field 'name': it is missing");
    assert_eq!(problem(json!([])), "the definitions: expected a JSON object, got a list");
    assert!(problem(json!({"users": [{"name": "u", "password_hash": "abc="}]})).contains("field 'password_hash'"));
    let policy = json!({"policies": [{"vhost": "/", "name": "p", "pattern": "(", "definition": {"max-length": -1}}]});
    let text = problem(policy);
    assert!(text.starts_with("policy 'p' in vhost '/': Validation failed"), "{text}");
    let twice = json!({"queues": [{"name": "q", "vhost": "/"}, {"name": "q", "vhost": "/", "durable": false}]});
    assert_eq!(problem(twice), "queue 'q' in vhost '/': it is there twice, and the two differ");
    let many = problem(json!({"queues": vec![json!({}); 200]}));
    assert!(many.ends_with("and 300 more"), "{many}");
}

#[test]
fn what_refers_to_something_missing_is_invalid() {
    let broker = broker();
    let refused = |json: Json| import(&broker, &json).unwrap_err().to_string();
    assert_eq!(
        refused(json!({"permissions": [{"user": "no", "vhost": "/", "configure": "", "write": "", "read": ""}]})),
        "permission of user 'no' in vhost '/': user 'no' does not exist"
    );
    assert_eq!(
        refused(json!({"queues": [{"name": "q", "vhost": "nix"}]})),
        "queue 'q' in vhost 'nix': vhost nix not found"
    );
    assert_eq!(
        refused(json!({"bindings": [{"vhost": "/", "source": "amq.topic", "destination": "q", "routing_key": "k"}]})),
        "binding from exchange 'amq.topic' to queue 'q' with key 'k' in vhost '/': no queue 'q' in vhost '/'"
    );
    let permission = json!({"user": "guest", "vhost": "/", "configure": "(", "write": "", "read": ""});
    assert!(refused(json!({"permissions": [permission]})).contains("configure"));
}

#[test]
fn unknown_fields_and_foreign_exchanges_are_warned_of() {
    let broker = broker();
    let file = json!({
        "surprise": 1,
        "queues": [{"name": "q", "vhost": "/", "colour": "red"}],
        "bindings": [{"vhost": "/", "source": "amq.rabbitmq.log", "destination": "q", "routing_key": "error"}]
    });
    let plan = plan(&broker, &file, Mode::default());
    assert_eq!(plan.warnings.len(), 3, "{:?}", plan.warnings);
    plan.carry_out(&broker, "tester").unwrap();
    assert!(broker.vhost("/").unwrap().queue("q").is_some());
}

#[test]
fn older_files_are_understood() {
    let old = json!({
        "rabbit_version": "3.5.7",
        "users": [{"name": "old", "password_hash": "PqEr1tCfLd7ZvmpEXNDE2BLxPLw=", "tags": "administrator, monitoring"}],
        "vhosts": [{"name": "v", "description": "d", "tags": "a,b", "limits": [], "tracing": false}],
    });
    let found = parse(&old).unwrap();
    let text = format!("{:?}", found.records);
    assert!(
        text.contains("Md5") && text.contains(r#"["administrator", "monitoring"]"#) && text.contains(r#"["a", "b"]"#)
    );
    let new = json!({"rabbit_version": "4.1.0", "vhosts": [{"name": "v", "metadata":
        {"description": "d", "tags": ["a"], "default_queue_type": "quorum"}, "limits": {"max-queues": 3}}],
        "queues": [{"name": "q", "vhost": "v", "type": "quorum", "durable": true, "auto_delete": false, "arguments": {}}]});
    let broker = broker();
    import(&broker, &new).unwrap();
    let vhost = broker.vhost("v").unwrap();
    assert_eq!((vhost.record().default_queue_type.as_deref(), vhost.limits.max_queues()), (Some("quorum"), Some(3)));
    assert_eq!(vhost.queue("q").unwrap().spec.arguments.get("x-queue-type").unwrap().as_text().unwrap(), "quorum");
}

#[test]
fn pruning_takes_what_the_file_has_not_and_spares_what_it_does_not_speak_of() {
    let broker = broker();
    import(&broker, &of_rabbitmq()).unwrap();
    let vhost = broker.vhost("team").unwrap();
    // No section for exchanges and users: they stay.
    let file = json!({
        "queues": [{"name": "q2", "vhost": "team", "durable": false, "auto_delete": true}],
        "policies": [],
    });
    let plain = Report::new(plan(&broker, &file, Mode::default()), false);
    assert_eq!((plain.summary.extra, plain.summary.delete, plain.summary.same), (2, 0, 1), "{}", plain.text);
    let plan = plan(&broker, &file, prune());
    plan.carry_out(&broker, "tester").unwrap();
    assert!(Report::new(plan, true).text.contains("- queue 'q1' in vhost 'team'\n"));
    assert!(vhost.queue("q1").is_none() && vhost.queue("q2").is_some() && vhost.exchange("e1").is_some());
    // The bindings of what went have gone too.
    assert_eq!(vhost.exchange("e1").unwrap().bindings.read().len(), 1);
    // Sections that are there, and empty.
    let nothing = json!({"users": [], "vhosts": [{"name": "/"}], "exchanges": []});
    plan_and_prune(&broker, &nothing);
    assert!(broker.vhost("team").is_none() && broker.directory.users().is_empty());
    assert!(broker.vhost("/").unwrap().exchange("amq.topic").is_some());
}

#[track_caller]
fn plan_and_prune(broker: &Broker, file: &Json) {
    plan(broker, file, prune()).carry_out(broker, "tester").unwrap();
}

#[test]
fn exclusive_and_reserved_names_are_never_pruned() {
    let broker = broker();
    let queue = |name: &str| {
        let definitions = parse(&json!({"queues": [{"name": name, "vhost": "/", "durable": false}]})).unwrap();
        match definitions.records.into_iter().next().unwrap() {
            crate::persist::Record::Queue(record) => record,
            _ => panic!("a queue"),
        }
    };
    broker.apply(Command::DeclareQueue { record: queue("own"), exclusive_owner: Some(7) }).unwrap();
    broker.apply(Command::DeclareQueue { record: queue("amq.gen-1"), exclusive_owner: None }).unwrap();
    broker.apply(Command::DeclareQueue { record: queue("plain"), exclusive_owner: None }).unwrap();
    plan_and_prune(&broker, &json!({"vhosts": [{"name": "/"}], "queues": [], "exchanges": [], "bindings": []}));
    let vhost = broker.vhost("/").unwrap();
    let is_there = |name| vhost.queue(name).is_some();
    assert_eq!((is_there("own"), is_there("amq.gen-1"), is_there("plain")), (true, true, false));
}

#[test]
fn changes_are_shown_field_by_field_but_for_hashes() {
    let broker = broker();
    import(&broker, &of_rabbitmq()).unwrap();
    let mut file = of_rabbitmq();
    file["users"][0]["tags"] = json!([]);
    file["users"][0]["password_hash"] = "zwpWhV6CfoB9+qpWv1lW+AHsHeIfoJ6361lZFtDMxx+9aEXc".into();
    file["policies"][0]["definition"] = json!({"max-length": 6});
    file["vhosts"][1]["description"] = "the team's".into();
    let plan = plan(&broker, &file, Mode::default());
    plan.carry_out(&broker, "tester").unwrap();
    let text = Report::new(plan, true).text;
    assert!(text.contains("~ vhost 'team': description \"\" -> \"the team's\"\n"), "{text}");
    assert!(
        text.contains("password_hash \"(hidden)\" -> \"(hidden)\", tags [\"monitoring\",\"policymaker\"] -> []"),
        "{text}"
    );
    assert!(text.contains("definition.max-length 5 -> 6"), "{text}");
    assert_eq!(broker.vhost("team").unwrap().record().description, "the team's");
    assert!(broker.directory.user("ann").unwrap().tags.is_empty());
}

#[test]
fn a_password_in_a_file_is_the_same_as_its_hash() {
    let broker = broker();
    let file = json!({"users": [{"name": "guest", "password": "guest", "tags": "administrator"}]});
    assert_eq!(Report::new(plan(&broker, &file, Mode::default()), false).text, "no differences\n");
    import(&broker, &json!({"users": [{"name": "new", "password": "pw"}]})).unwrap();
    assert!(broker.directory.authenticate("new", b"pw").is_ok());
}

#[test]
fn limits_count_what_the_file_brings() {
    let broker = broker();
    let queues = |n: usize| (0..n).map(|i| json!({"name": format!("q{i}"), "vhost": "v"})).collect::<Vec<_>>();
    let limits = json!([{"vhost": "v", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 3}}]);
    let file = |n| json!({"vhosts": [{"name": "v"}], "parameters": limits, "queues": queues(n)});
    let text = import(&broker, &file(4)).unwrap_err().to_string();
    assert!(text.ends_with("cannot declare queue 'q3': queue limit in vhost 'v' (3) is reached"), "{text}");
    assert!(broker.vhost("v").is_none());
    import(&broker, &file(3)).unwrap();
}

#[test]
fn limits_of_users_of_which_a_file_says_nothing_stay() {
    let broker = broker();
    let user = |limits: Option<Json>| {
        let mut user = json!({"name": "u", "password": "pw"});
        if let Some(limits) = limits {
            user["limits"] = limits;
        }
        json!({"users": [user]})
    };
    let limits = || broker.directory.user("u").map(|user| (user.max_connections, user.max_channels)).unwrap();
    import(&broker, &user(Some(json!({"max-connections": 5, "max-channels": 7})))).unwrap();
    import(&broker, &user(None)).unwrap();
    assert_eq!(limits(), (Some(5), Some(7)));
    import(&broker, &user(Some(json!({"max-channels": 8})))).unwrap();
    assert_eq!(limits(), (None, Some(8)));
}

#[test]
fn a_file_that_is_too_large_is_not_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.json");
    std::fs::write(&path, r#"{"vhosts": []}"#).unwrap();
    let load_with = |max_size| {
        let mut config = Config::default();
        config.definitions = crate::config::Definitions { load: vec![path.clone()], max_size, ..config.definitions };
        load(&broker_with(config)).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(load_with(14), Ok(()));
    let expected = format!("the definitions in {} have more than 13 bytes (definitions.max_size)", path.display());
    assert_eq!(load_with(13), Err(expected));
}
