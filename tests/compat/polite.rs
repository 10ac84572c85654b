//! The same broker seen by lapin, a client that real programs use.

use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

use super::harness::*;

async fn connect() -> Connection {
    let uri = format!("amqp://guest:guest@{}/%2f", Broker::start().address);
    Connection::connect(&uri, ConnectionProperties::default()).await.expect("lapin connects")
}

#[tokio::test]
async fn lapin_publishes_and_gets() {
    let connection = connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.expect("a queue");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let properties = BasicProperties::default().with_content_type("text/plain".into());
    let confirm = channel
        .basic_publish("".into(), queue.name().clone(), BasicPublishOptions::default(), b"hello", properties)
        .await
        .expect("published")
        .await
        .expect("confirmed");
    assert!(matches!(confirm, Confirmation::Ack(None)));
    let got = channel.basic_get(queue.name().clone(), BasicGetOptions::default()).await.expect("got");
    let message = got.expect("a message");
    assert_eq!(message.delivery.data, b"hello");
    message.delivery.ack(BasicAckOptions::default()).await.expect("acked");
    connection.close(200, "bye".into()).await.expect("closed");
}

#[tokio::test]
async fn lapin_reads_the_errors() {
    let connection = connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(-1));
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let error = channel.queue_declare(unique("q").into(), exclusive, arguments).await.expect_err("refused");
    assert!(error.to_string().contains("{value_negative,-1}"), "{error}");
}
