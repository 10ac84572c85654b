//! Permissions and limits: what a user may do, and the texts that say so (items 19, 43, 49, 56, 61, 65).

use super::harness::*;

/// A user with these permissions in the default vhost; its password is its name.
struct User {
    broker: &'static Broker,
    name: String,
}

impl User {
    fn new(configure: &str, write: &str, read: &str) -> Option<Self> {
        let broker = Broker::start();
        if !broker.can_be_administered() {
            return None;
        }
        let name = unique("user");
        broker.add_user(&name, &name);
        broker.set_permissions(&name, "/", configure, write, read);
        Some(Self { broker, name })
    }

    fn channel(&self) -> Channel {
        self.broker.connect_with(|options| options.log_in_as(&self.name)).channel()
    }

    fn refused(&self, what: &str, resource: &str) -> String {
        let name = &self.name;
        // 3.10 does not say which access.
        let what = if self.broker.is_3_10() { "".into() } else { format!("{what} ") };
        format!("{what}access to {resource} in vhost '/' refused for user '{name}'")
    }
}

#[test]
fn e019_access_to_a_vhost() {
    let broker = Broker::start();
    if !broker.can_be_administered() {
        return;
    }
    let name = unique("user");
    broker.add_user(&name, &name);
    let client = broker.socket();
    let mut options = Options::default();
    options.log_in_as(&name);
    client.log_in(&options);
    client.send(tune_ok(2047, 131_072, 0));
    let text = format!("access to vhost '/' refused for user '{name}'");
    client.ends_connection(connection_open("/"), 530, text);
}

#[test]
fn e019_connection_limits() {
    let broker = Broker::start();
    if !broker.can_be_administered() {
        return;
    }
    let (vhost, user) = (unique("one-connection"), unique("user"));
    broker.add_vhost(&vhost);
    broker.add_user(&user, &user);
    broker.set_permissions("guest", &vhost, ".*", ".*", ".*");
    broker.set_permissions(&user, "/", ".*", ".*", ".*");
    broker.set_vhost_limits(&vhost, r#"{"max-connections": 1}"#);
    broker.set_user_limits(&user, r#"{"max-connections": 1}"#);
    let _in_vhost = broker.connect_with(|options| options.vhost = vhost.clone());
    let _of_user = broker.connect_with(|options| options.log_in_as(&user));

    let client = broker.socket();
    client.log_in(&Options::default());
    client.send(tune_ok(2047, 131_072, 0));
    let text = format!("access to vhost '{vhost}' refused for user 'guest': connection limit (1) is reached");
    client.ends_connection(connection_open(&vhost), 530, text);

    let client = broker.socket();
    let mut options = Options::default();
    options.log_in_as(&user);
    client.log_in(&options);
    client.send(tune_ok(2047, 131_072, 0));
    let text = format!("connection refused for user '{user}': user connection limit (1) is reached");
    client.ends_connection(connection_open("/"), 530, text);
    broker.delete_vhost(&vhost);
}

#[test]
fn e022_a_user_s_channel_limit() {
    let Some(user) = User::new(".*", ".*", ".*") else { return };
    user.broker.set_user_limits(&user.name, r#"{"max-channels": 1}"#);
    let client = user.broker.connect_with(|options| options.log_in_as(&user.name));
    let _first = client.channel();
    client.unopened_channel(2).send(channel_open());
    let text =
        format!("number of channels opened for user '{}' has reached the maximum allowed user limit of (1)", user.name);
    client.expect_connection_close(530, text, (0, 0));
}

#[test]
fn e022_the_node_s_channel_limit() {
    let settings = [("channel_max_per_node", "2"), ("node_name", "hare@field")];
    let Some(broker) = Broker::start_with(&settings) else { return };
    let client = broker.connect();
    let (_first, _second) = (client.channel(), client.channel());
    client.unopened_channel(3).send(channel_open());
    let text = "number of channels opened on node 'hare@field' has reached the maximum allowed limit of (2)";
    client.expect_connection_close(530, text, (0, 0));
}

#[test]
fn a008_limits_of_a_user_are_changed_at_run_time() {
    let Some(user) = User::new(".*", ".*", ".*") else { return };
    let (broker, name) = (user.broker, &user.name);
    let connect = || broker.connect_with(|options| options.log_in_as(name));
    let refuses = |limit: u32| {
        let client = broker.socket();
        let mut options = Options::default();
        options.log_in_as(name);
        client.log_in(&options);
        client.send(tune_ok(2047, 131_072, 0));
        let text = format!("connection refused for user '{name}': user connection limit ({limit}) is reached");
        client.ends_connection(connection_open("/"), 530, text);
    };
    let _first = connect();
    // Whoever is there stays.
    broker.set_user_limits(name, r#"{"max-connections": 0}"#);
    refuses(0);
    broker.set_user_limits(name, r#"{"max-connections": 2}"#);
    let second = connect();
    refuses(2);
    broker.set_user_limits(name, r#"{"max-connections": -1}"#);
    let _third = connect();
    broker.set_user_limits(name, r#"{"max-channels": 1, "max-connections": 3}"#);
    refuses(3);
    let _channel = second.channel();
    let text = format!("number of channels opened for user '{name}' has reached the maximum allowed user limit of (1)");
    second.unopened_channel(2).send(channel_open());
    second.expect_connection_close(530, text, (0, 0));
    // Its password and permissions are as they were.
    broker.clear_user_limits(name);
    let fourth = connect();
    let channels = [fourth.channel(), fourth.channel()];
    channels[1].temporary_queue();
}

#[test]
fn e043_a_passive_declare_needs_any_permission() {
    let observer = channel();
    let queue = unique("q");
    observer.declare(queue_declare(&queue));
    for (configure, write, read) in [(".*", "", ""), ("", ".*", ""), ("", "", ".*")] {
        let Some(user) = User::new(configure, write, read) else { return };
        let channel = user.channel();
        channel.declare(queue_declare(&queue).passive());
        channel.call(exchange_declare("amq.direct", "direct").passive());
    }
    observer.delete(queue_delete(&queue));
}

#[test]
fn e065_configure() {
    let Some(user) = User::new("^mine", ".*", ".*") else { return };
    let channel = user.channel();
    let mine = unique("mine");
    channel.declare(queue_declare(&mine).exclusive());
    let queue = "queue 'other'";
    channel.refuses(queue_declare("other"), 403, user.refused("configure", queue));
    channel.refuses(queue_delete("other"), 403, user.refused("configure", queue));
    let exchange = "exchange 'other'";
    channel.refuses(exchange_declare("other", "direct"), 403, user.refused("configure", exchange));
    channel.refuses(exchange_delete("other"), 403, user.refused("configure", exchange));
}

#[test]
fn e065_write() {
    let Some(user) = User::new(".*", "^mine", ".*") else { return };
    let channel = user.channel();
    let exchange = unique("mine");
    channel.call(exchange_declare(&exchange, "direct").auto_delete());
    channel.publish_confirmed(&exchange, "key", &["m"]);
    let refused = |name: &str| user.refused("write", &format!("exchange '{name}'"));
    channel.refuses_message(basic_publish("amq.topic", "k"), &props(), "m", 403, refused("amq.topic"));
    // The default exchange goes by this name.
    channel.refuses_message(basic_publish("", "k"), &props(), "m", 403, refused("amq.default"));
    channel.call(exchange_delete(&exchange));
}

#[test]
fn e065_read() {
    let Some(user) = User::new(".*", ".*", "^mine") else { return };
    let channel = user.channel();
    let (mine, other) = (unique("mine"), unique("other"));
    channel.declare(queue_declare(&mine).exclusive());
    channel.declare(queue_declare(&other).exclusive());
    channel.consume(basic_consume(&mine, ""));
    let refused = user.refused("read", &format!("queue '{other}'"));
    for method in [basic_consume(&other, ""), basic_get(&other), queue_purge(&other)] {
        channel.refuses(method, 403, &refused);
    }
}

#[test]
fn e056_binding_needs_write_on_the_destination_and_read_on_the_source() {
    let Some(user) = User::new(".*", "^w", "^r") else { return };
    let channel = user.channel();
    let (write, read) = (unique("w"), unique("r"));
    channel.declare(queue_declare(&write).exclusive());
    channel.declare(queue_declare(&read).exclusive());
    channel.call(exchange_declare(&read, "direct"));
    channel.call(exchange_declare(&write, "direct"));
    channel.call(queue_bind(&write, &read, "key"));
    channel.call(exchange_bind(&write, &read, "key"));
    let queue = user.refused("write", &format!("queue '{read}'"));
    channel.refuses(queue_bind(&read, &read, "key"), 403, &queue);
    channel.refuses(queue_unbind(&read, &read, "key"), 403, &queue);
    let exchange = user.refused("read", &format!("exchange '{write}'"));
    channel.refuses(queue_bind(&write, &write, "key"), 403, &exchange);
    channel.refuses(exchange_bind(&write, &write, "key"), 403, &exchange);
    let exchange = user.refused("write", &format!("exchange '{read}'"));
    channel.refuses(exchange_bind(&read, &write, "key"), 403, &exchange);
    channel.call(exchange_delete(&read));
    channel.call(exchange_delete(&write));
}

#[test]
fn e049_dead_letter_and_alternate_exchanges() {
    let Some(user) = User::new(".*", "^w", "^r") else { return };
    let channel = user.channel();
    let (read, other) = (unique("r"), unique("other"));
    let dead_letter = |queue: &str, dlx: &str| queue_declare(queue).exclusive().arg("x-dead-letter-exchange", dlx);
    channel.declare(dead_letter(&read, "w-that-need-not-exist"));
    let text = user.refused("write", "exchange 'x'");
    channel.refuses(dead_letter(&unique("r"), "x"), 403, text);
    let text = user.refused("read", &format!("queue '{other}'"));
    channel.refuses(dead_letter(&other, "w"), 403, text);

    let alternate = |name: &str, ae: &str| exchange_declare(name, "direct").auto_delete().arg("alternate-exchange", ae);
    channel.call(alternate(&read, "w-that-need-not-exist"));
    channel.refuses(alternate(&unique("r"), "x"), 403, user.refused("write", "exchange 'x'"));
    let text = user.refused("read", &format!("exchange '{other}'"));
    channel.refuses(alternate(&other, "w"), 403, text);
    channel.call(exchange_delete(&read));
}

#[test]
fn e065_topics() {
    let Some(user) = User::new(".*", ".*", ".*") else { return };
    user.broker.set_topic_permissions(&user.name, "/", "amq.topic", "^w\\.", "^r\\.");
    let channel = user.channel();
    let queue = channel.temporary_queue();
    let refused = |what, topic| user.refused(what, &format!("topic '{topic}' in exchange 'amq.topic'"));
    channel.publish_confirmed("amq.topic", "w.1", &["m"]);
    channel.refuses_message(basic_publish("amq.topic", "x"), &props(), "m", 403, refused("write", "x"));
    channel.call(queue_bind(&queue, "amq.topic", "r.#"));
    channel.refuses(queue_bind(&queue, "amq.topic", "#"), 403, refused("read", "#"));
    // Other exchanges are not concerned.
    channel.call(queue_bind(&queue, "amq.direct", "#"));
}

#[test]
fn e061_the_number_of_queues_is_limited() {
    let broker = Broker::start();
    if !broker.can_be_administered() {
        return;
    }
    let vhost = unique("one-queue");
    broker.add_vhost(&vhost);
    broker.set_permissions("guest", &vhost, ".*", ".*", ".*");
    broker.set_vhost_limits(&vhost, r#"{"max-queues": 1}"#);
    let channel = broker.connect_with(|options| options.vhost = vhost.clone()).channel();
    channel.declare(queue_declare("one"));
    let text = format!("cannot declare queue 'two': queue limit in vhost '{vhost}' (1) is reached");
    channel.refuses(queue_declare("two"), 406, text);
    channel.declare(queue_declare("one"));
    channel.delete(queue_delete("one"));
    channel.declare(queue_declare("two"));
    broker.delete_vhost(&vhost);
}

#[test]
fn e069_impersonators_may_use_any_user_id() {
    use leveret::frames::content::Property;
    let Some(user) = User::new(".*", ".*", ".*") else { return };
    user.broker.set_user_tags(&user.name, "impersonator");
    let channel = user.channel();
    let queue = channel.temporary_queue();
    channel.publish_with("", &queue, props().text(Property::UserId, "somebody"), "m");
    assert_eq!(channel.expect_get(&queue).props.get(Property::UserId), "somebody");
}

/// Item 130.
#[test]
fn e130_deleting_a_vhost_closes_its_connections() {
    let broker = Broker::start();
    if !broker.can_be_administered() {
        return;
    }
    let vhost = unique("vhost");
    broker.add_vhost(&vhost);
    broker.set_permissions("guest", &vhost, ".*", ".*", ".*");
    let client = broker.connect_with(|options| options.vhost = vhost.clone());
    broker.delete_vhost(&vhost);
    client.expect_connection_close(320, "…", (0, 0));
}
