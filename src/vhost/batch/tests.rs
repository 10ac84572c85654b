use super::*;
use crate::frames::Table;
use crate::vhost::broker::default_vhost;
use crate::vhost::command::DeleteQueue;
use crate::vhost::test_catalog::{TestCatalog, binding};

fn queue(vhost: &str, name: &str) -> Command {
    let (vhost, name, arguments) = (vhost.to_owned(), name.to_owned(), Table::default());
    let record = QueueRecord { vhost, name, durable: true, auto_delete: false, arguments, id: 0 };
    Command::DeclareQueue { record, exclusive_owner: None }
}

fn exchange(name: &str) -> Command {
    Command::DeclareExchange(ExchangeRecord {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        kind: "fanout".to_owned(),
        durable: true,
        auto_delete: true,
        internal: false,
        arguments: Table::default(),
        id: 0,
    })
}

fn bind(source: &str, destination: &str, to_exchange: bool) -> Command {
    Command::Bind { record: binding(source, destination, to_exchange), connection: None }
}

fn delete(name: &str) -> Command {
    Command::DeleteQueue(DeleteQueue { vhost: "/".to_owned(), name: name.to_owned(), ..DeleteQueue::default() })
}

fn unbind(source: &str, destination: &str) -> Command {
    Command::Unbind { record: binding(source, destination, false), connection: None }
}

/// The exchanges of the default virtual host that somebody has declared, and its queues.
fn names(broker: &Broker) -> Vec<String> {
    let vhost = broker.vhost("/").unwrap();
    let topology = vhost.topology.read();
    let mut names: Vec<String> =
        topology.exchanges.keys().chain(topology.queues.keys()).map(ToString::to_string).collect();
    names.retain(|name| !name.starts_with("amq."));
    names.sort_unstable();
    names
}

fn bindings(broker: &Broker) -> usize {
    let vhost = broker.vhost("/").unwrap();
    vhost.exchanges_by_name().iter().map(|exchange| exchange.bindings.read().len()).sum()
}

/// What is there after commands that go together, in the broker and in one that is started with what was written.
#[track_caller]
fn after(before: &[Command], commands: &[Command]) -> Vec<String> {
    let (broker, catalog) = TestCatalog::with_broker();
    broker.apply_all(before, "tester").unwrap();
    let writes = catalog.writes().len();
    broker.apply_all(commands, "tester").unwrap();
    assert_eq!(catalog.writes().len(), writes + 1, "all of it is one write");
    let (names_now, bindings_now) = (names(&broker), bindings(&broker));
    let again = catalog.start().unwrap();
    assert_eq!((names(&again), bindings(&again)), (names_now.clone(), bindings_now), "after a restart");
    names_now
}

#[test]
fn auto_delete_exchanges_go_with_their_last_bindings_in_the_same_write() {
    let chain = [
        queue("/", "q"),
        queue("/", "other"),
        exchange("far"),
        exchange("near"),
        bind("far", "near", true),
        bind("near", "q", false),
    ];
    assert_eq!(after(&chain, &[delete("q")]), ["other"]);
    assert_eq!(after(&chain, &[unbind("near", "q")]), ["other", "q"]);
    assert_eq!(after(&chain, &[delete("other")]), ["far", "near", "q"]);
    // One that has got another binding meanwhile stays, whichever is said first.
    for commands in [[delete("q"), bind("near", "other", false)], [bind("near", "other", false), delete("q")]] {
        assert_eq!(after(&chain, &commands), ["far", "near", "other"]);
    }
    let both = [&chain[..], &[bind("near", "other", false)]].concat();
    assert_eq!(after(&both, &[unbind("near", "q")]), ["far", "near", "other", "q"]);
    assert_eq!(after(&both, &[unbind("near", "q"), delete("other")]), ["q"]);
}

/// A file may speak of what it leaves out, and what it leaves out may have to go.
#[test]
fn what_is_made_for_something_that_goes_is_not_kept() {
    let there = [queue("/", "q"), exchange("x"), bind("x", "q", false), queue("/", "r")];
    assert_eq!(after(&there, &[bind("amq.fanout", "q", false), bind("x", "r", false), delete("q")]), ["r", "x"]);
    assert_eq!(after(&there, &[bind("amq.fanout", "r", false), bind("x", "r", false), delete("r")]), ["q", "x"]);

    let vhost = || Command::PutVhost(default_vhost("v"));
    let gone = Command::DeleteVhost { name: "v".to_owned(), even_protected: false };
    assert_eq!(after(&[vhost()], &[queue("v", "in-v"), gone]), [""; 0]);

    let ann = || User::new("ann");
    let permissions = PermissionRecord {
        user: "ann".to_owned(),
        vhost: "/".to_owned(),
        permissions: crate::auth::Permissions::all(),
    };
    let (broker, catalog) = TestCatalog::with_broker();
    broker.apply(Command::PutUser(ann())).unwrap();
    let commands = [Command::SetPermissions(permissions), Command::DeleteUser { name: "ann".to_owned() }];
    broker.apply_all(&commands, "tester").unwrap();
    let again = catalog.start().unwrap();
    again.apply(Command::PutUser(ann())).unwrap();
    assert!(!again.directory.permissions().iter().any(|(user, ..)| user == "ann"), "a new ann is somebody else");
}

#[test]
fn a_new_virtual_host_of_a_batch_begins_as_any_other() {
    let settings = [
        ("default_users.joe.password", "secret"),
        ("default_users.joe.vhost_pattern", "^v"),
        ("default_users.joe.write", "^w"),
        ("default_policies.operator.p.queue_pattern", "^q"),
        ("default_policies.operator.p.max_length", "5"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = crate::config::Config::load(None, &settings).unwrap();
    let catalog = TestCatalog::default();
    let broker = catalog.start_with(config).unwrap();
    broker.apply_all(&[Command::PutVhost(default_vhost("v1"))], "tester").unwrap();
    broker.apply(Command::PutVhost(default_vhost("v2"))).unwrap();
    for broker in [&broker, &catalog.start().unwrap()] {
        for vhost in ["v1", "v2"] {
            let permissions = broker.directory.permissions();
            let of_joe = permissions.iter().find(|(user, of, _)| user == "joe" && of == vhost);
            assert_eq!(of_joe.map(|(.., permissions)| &*permissions.write), Some("^w"), "{vhost}");
            assert_eq!(broker.vhost(vhost).unwrap().policies(true).len(), 1, "{vhost}");
        }
    }
}
