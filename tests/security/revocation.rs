//! What is taken away from a user is gone at once.

use crate::compat::harness::{Broker, basic_publish, connection_close_ok, props};

#[test]
fn a_revoked_permission_counts_with_the_next_publish() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    broker.put_user("w");
    let channel = broker.connect_with(|options| options.log_in_as("w")).channel();
    // Twice, so that the route is in the cache.
    channel.publish_confirmed("amq.direct", "k", &["before", "again"]);
    broker.set_permissions("w", "/", ".*", "", ".*");
    channel.send_message(basic_publish("amq.direct", "k"), &props(), b"after");
    let text = "write access to exchange 'amq.direct' in vhost '/' refused for user 'w'";
    channel.expect_channel_close(403, text, (60, 40));
}

#[test]
fn a_deleted_user_is_sent_away() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    broker.put_user("leaving");
    let client = broker.connect_with(|options| options.log_in_as("leaving"));
    let command = leveret::vhost::command::Command::DeleteUser { name: "leaving".to_owned() };
    broker.node().broker().apply(command).expect("the user is deleted");
    let close = format!("{:?}", client.expect_method("connection.close"));
    assert!(close.contains("320") && close.contains("User 'leaving' was deleted"), "{close}");
    client.send(connection_close_ok());
}
