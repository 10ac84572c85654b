//! What clients rely on, written down as tests: the numbered items of the compatibility reference (sections E-1 to E-9),
//! delayed exchanges and what queue arguments may be and do. A test's name begins with the number of its
//! item.
//!
//! The broker runs in this process, on a free port with a data directory of its own; most tests share one and use
//! names of their own. With `LEVERET_TEST_ADDR=host:port` the same tests drive a broker that already runs, which is
//! how they were checked against RabbitMQ. `LEVERET_TEST_CTL` may then name its `rabbitmqctl`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod compat {
    mod harness;

    mod ack;
    mod arguments;
    mod bindings;
    mod confirms;
    mod consume;
    mod contention;
    mod counting;
    mod dead_letter_routing;
    mod dead_letters;
    mod declare;
    mod delayed;
    mod errors;
    mod events;
    mod exchange_types;
    mod exchanges;
    mod firehose;
    mod frames;
    mod handshake;
    mod limits;
    mod permissions;
    mod policies;
    mod polite;
    mod priorities;
    mod publish;
    mod qos;
    mod recall;
    mod reply_to;
    mod restart;
    mod retries;
    mod robustness;
    mod table;
    mod tx;
}
