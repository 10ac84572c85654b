/* The cases for librabbitmq (rabbitmq-c). */

#include "harness.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void hello_world(void) {
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, 0);
    publish(conn, "", queue, "Hello World!");
    consume(conn, 1, queue, true);
    expect_text(next_message(conn).message.body, "Hello World!", "received");
    disconnect(conn);
}

static void work_queues(void) {
    const char *tasks[] = {"task 0", "task 1", "task 2", "task 3", "task 4", "task 5"};
    amqp_basic_properties_t persistent = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = AMQP_DELIVERY_PERSISTENT};
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, DURABLE);
    for (int i = 0; i < COUNT(tasks); i++) publish_bytes(conn, 1, "", queue, false, &persistent, bytes(tasks[i]));

    /* A worker that dies with a task in hand has had just that one ... */
    amqp_connection_state_t worker = connect_to_broker();
    set_prefetch(worker, 1, 1);
    consume(worker, 1, queue, false);
    amqp_envelope_t in_hand = next_message(worker);
    expect_text(in_hand.message.body, tasks[0], "first task");
    expect_int(in_hand.message.properties.delivery_mode, AMQP_DELIVERY_PERSISTENT, "delivery mode");
    expect_int(queue_state(conn, queue).message_count, 5, "tasks left in the queue");
    disconnect(worker);

    /* ... which goes to the next worker. */
    worker = connect_to_broker();
    set_prefetch(worker, 1, 1);
    consume(worker, 1, queue, false);
    for (int i = 0; i < COUNT(tasks); i++) {
        amqp_envelope_t task = next_message(worker);
        expect_text(task.message.body, tasks[i], "task of the second worker");
        expect_int(task.redelivered, i == 0, "redelivered");
        ack(worker, &task);
    }
    disconnect(worker);
    expect_int(queue_state(conn, queue).message_count, 0, "tasks left at the end");
    disconnect(conn);
}

static void publish_subscribe(void) {
    const char *lines[] = {"one", "two"};
    amqp_connection_state_t conn = connect_to_broker();
    char *logs = new_exchange(conn, "fanout", 0), *queues[2];
    for (int i = 0; i < 2; i++) {
        amqp_queue_declare_ok_t *ok = declare_queue(conn, 1, "", EXCLUSIVE, amqp_empty_table);
        check(conn, "queue.declare");
        queues[i] = string(ok->queue);
        expect_prefix(bytes(queues[i]), "amq.gen-", "name of the queue");
        bind_queue(conn, queues[i], logs, "");
    }
    for (int i = 0; i < 2; i++) publish(conn, logs, "", lines[i]);
    for (int i = 0; i < 2; i++) expect_messages(conn, queues[i], lines, 2);
    disconnect(conn);
}

struct route {
    const char *bindings[4];
    const char *expected[12];
};

/* Binds a queue for each route, publishes each key as a message, and compares what every queue gets. */
static void routed(const char *type, const char *const *keys, int key_count, const struct route *routes, int route_count) {
    amqp_connection_state_t conn = connect_to_broker();
    char *exchange = new_exchange(conn, type, 0), *queues[4];
    for (int i = 0; i < route_count; i++) {
        queues[i] = new_queue(conn, EXCLUSIVE);
        for (const char *const *binding = routes[i].bindings; *binding; binding++)
            bind_queue(conn, queues[i], exchange, *binding);
    }
    for (int i = 0; i < key_count; i++) publish(conn, exchange, keys[i], keys[i]);
    for (int i = 0; i < route_count; i++) {
        amqp_bytes_t tag = consume(conn, 1, queues[i], true);
        for (const char *const *expected = routes[i].expected; *expected; expected++) {
            amqp_envelope_t envelope = next_message(conn);
            expect_text(envelope.routing_key, *expected, "routing key");
            expect_text(envelope.message.body, *expected, "body");
        }
        cancel(conn, tag);
        /* A message too many would have gone to the consumer before its cancel-ok. */
        struct timeval at_once = {0, 0};
        amqp_frame_t frame;
        if (amqp_simple_wait_frame_noblock(conn, &frame, &at_once) != AMQP_STATUS_TIMEOUT) fail("further messages");
        expect_int(queue_state(conn, queues[i]).message_count, 0, "further messages");
    }
    disconnect(conn);
}

static void routing(void) {
    const char *keys[] = {"info", "error", "debug", "warning", "error"};
    struct route routes[] = {
        {{"error"}, {"error", "error"}},
        {{"info", "warning", "error"}, {"info", "error", "warning", "error"}},
    };
    routed("direct", keys, COUNT(keys), routes, COUNT(routes));
}

static void topics(void) {
    const char *keys[] = {"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox",       "lazy.brown.fox",
                          "lazy.pink.rabbit",    "quick.brown.fox",      "orange",                 "quick.orange.new.rabbit",
                          "lazy.orange.new.rabbit", "lazy"};
    struct route routes[] = {
        {{"*.orange.*"}, {"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"}},
        {{"*.*.rabbit", "lazy.#"},
         {"quick.orange.rabbit", "lazy.orange.elephant", "lazy.brown.fox", "lazy.pink.rabbit", "lazy.orange.new.rabbit", "lazy"}},
        {{"#"},
         {"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.brown.fox", "lazy.pink.rabbit",
          "quick.brown.fox", "orange", "quick.orange.new.rabbit", "lazy.orange.new.rabbit", "lazy"}},
    };
    routed("topic", keys, COUNT(keys), routes, COUNT(routes));
}

static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

/* Two calls of a server for Fibonacci numbers, both its side and the client's. Every request must have an address
 * that begins like this. */
static void rpc_calls(amqp_connection_state_t server, const char *rpc_queue, amqp_connection_state_t client,
                      const char *reply_to, bool no_ack, const char *address_prefix) {
    const int numbers[] = {5, 10};
    consume(client, 1, reply_to, no_ack);
    for (int i = 0; i < 2; i++) {
        char *id = text("call-%d", numbers[i]);
        amqp_basic_properties_t properties = {._flags = AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG,
                                              .reply_to = bytes(reply_to),
                                              .correlation_id = bytes(id)};
        publish_bytes(client, 1, "", rpc_queue, false, &properties, bytes(text("%d", numbers[i])));

        amqp_envelope_t request = next_message(server);
        int n = atoi(string(request.message.body));
        expect_prefix(request.message.properties.reply_to, address_prefix, "reply_to in the request");
        amqp_basic_properties_t answer = {._flags = AMQP_BASIC_CORRELATION_ID_FLAG,
                                          .correlation_id = request.message.properties.correlation_id};
        publish_bytes(server, 1, "", string(request.message.properties.reply_to), false, &answer, bytes(text("%d", fib(n))));
        ack(server, &request);

        amqp_envelope_t reply = next_message(client);
        expect_text(reply.message.body, text("%d", fib(numbers[i])), text("fib(%d)", numbers[i]));
        expect_text(reply.message.properties.correlation_id, id, "correlation id");
        if (!no_ack) ack(client, &reply);
    }
}

static void rpc(void) {
    amqp_connection_state_t server = connect_to_broker();
    char *rpc_queue = new_queue(server, 0);
    set_prefetch(server, 1, 1);
    consume(server, 1, rpc_queue, false);

    amqp_connection_state_t client = connect_to_broker();
    amqp_queue_declare_ok_t *own = declare_queue(client, 1, "", EXCLUSIVE, amqp_empty_table);
    check(client, "queue.declare");
    char *callback_queue = string(own->queue);
    rpc_calls(server, rpc_queue, client, callback_queue, false, callback_queue);
    disconnect(client);

    client = connect_to_broker();
    rpc_calls(server, rpc_queue, client, "amq.rabbitmq.reply-to", true, "amq.rabbitmq.reply-to.");
    disconnect(client);
    disconnect(server);
}

/* A channel in confirm mode, and the messages on it that are not confirmed yet. */
struct publisher {
    amqp_connection_state_t conn;
    char *queue;
    bool outstanding[2001];
    int published, unconfirmed;
};

static void start_publisher(struct publisher *p) {
    *p = (struct publisher){.conn = connect_to_broker()};
    p->queue = new_queue(p->conn, 0);
    amqp_confirm_select(p->conn, 1);
    check(p->conn, "confirm.select");
}

static void publish_next(struct publisher *p) {
    publish(p->conn, "", p->queue, text("%d", p->published));
    p->outstanding[++p->published] = true;
    p->unconfirmed++;
}

/* Takes confirms until no more than this many messages are unconfirmed; with 0 seconds those that are there. */
static void take_confirms(struct publisher *p, int enough, int seconds) {
    while (p->unconfirmed > enough) {
        struct timeval patience = {seconds, 0};
        amqp_frame_t frame;
        int status = amqp_simple_wait_frame_noblock(p->conn, &frame, &patience);
        if (status == AMQP_STATUS_TIMEOUT && seconds == 0) return;
        if (status != AMQP_STATUS_OK) fail("waiting for %d confirms: %s", p->unconfirmed, amqp_error_string2(status));
        if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            fail("method 0x%08x instead of a basic.ack", frame.payload.method.id);
        amqp_basic_ack_t *confirm = frame.payload.method.decoded;
        if (confirm->delivery_tag > (uint64_t)p->published || !p->outstanding[confirm->delivery_tag])
            fail("a confirm for %d, which is not outstanding", (int)confirm->delivery_tag);
        int first = confirm->multiple ? 1 : confirm->delivery_tag;
        for (int tag = first; tag <= (int)confirm->delivery_tag; tag++) {
            p->unconfirmed -= p->outstanding[tag];
            p->outstanding[tag] = false;
        }
        amqp_maybe_release_buffers(p->conn);
    }
}

static void finish_publisher(struct publisher *p) {
    const char *bodies[2000];
    for (int i = 0; i < p->published; i++) bodies[i] = text("%d", i);
    expect_messages(p->conn, p->queue, bodies, p->published);
    disconnect(p->conn);
}

static void confirms_one_by_one(void) {
    struct publisher p;
    start_publisher(&p);
    for (int i = 0; i < 50; i++) {
        publish_next(&p);
        take_confirms(&p, 0, DEADLINE);
        expect_int(queue_state(p.conn, p.queue).message_count, i + 1, "messages after the confirm");
    }
    finish_publisher(&p);
}

static void confirms_batch(void) {
    struct publisher p;
    start_publisher(&p);
    for (int batch = 1; batch <= 5; batch++) {
        for (int i = 0; i < 100; i++) publish_next(&p);
        take_confirms(&p, 0, DEADLINE);
        expect_int(queue_state(p.conn, p.queue).message_count, batch * 100, "messages after the batch");
    }
    finish_publisher(&p);
}

static void confirms_asynchronous(void) {
    struct publisher p;
    start_publisher(&p);
    for (int i = 0; i < 2000; i++) {
        publish_next(&p);
        take_confirms(&p, 0, 0);
    }
    take_confirms(&p, 0, DEADLINE);
    finish_publisher(&p);
}

static void mandatory_return(void) {
    struct timeval patience = {DEADLINE, 0};
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, 0), *nowhere = unique("nowhere");
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_MESSAGE_ID_FLAG, .message_id = bytes("m1")};
    amqp_confirm_select(conn, 1);
    check(conn, "confirm.select");
    publish_bytes(conn, 1, "", nowhere, true, &properties, bytes("lost"));

    amqp_frame_t frame;
    if (amqp_simple_wait_frame_noblock(conn, &frame, &patience) != AMQP_STATUS_OK ||
        frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_RETURN_METHOD)
        fail("the message was not returned");
    amqp_basic_return_t *returned = frame.payload.method.decoded;
    expect_int(returned->reply_code, AMQP_NO_ROUTE, "reply code");
    expect_text(returned->reply_text, "NO_ROUTE", "reply text");
    expect_text(returned->exchange, "", "exchange");
    expect_text(returned->routing_key, nowhere, "routing key");
    amqp_message_t message;
    amqp_rpc_reply_t reply = amqp_read_message(conn, 1, &message, 0);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("reading the returned message: %s", describe(reply));
    expect_text(message.body, "lost", "body");
    expect_text(message.properties.message_id, "m1", "message id");

    /* The confirm comes after the return; then only confirms follow for messages that are not returned. */
    publish_bytes(conn, 1, "", nowhere, false, NULL, bytes("dropped"));
    publish_bytes(conn, 1, "", queue, true, NULL, bytes("kept"));
    for (uint64_t confirmed = 0; confirmed < 3;) {
        if (amqp_simple_wait_frame_noblock(conn, &frame, &patience) != AMQP_STATUS_OK ||
            frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            fail("no confirm for message %d", (int)confirmed + 1);
        amqp_basic_ack_t *confirm = frame.payload.method.decoded;
        confirmed = confirm->delivery_tag > confirmed ? confirm->delivery_tag : confirmed;
    }
    expect_message(conn, queue, "kept");
    disconnect(conn);
}

/* Gets the queue's first message, which must be this one; gives its delivery tag. */
static uint64_t expect_get(amqp_connection_state_t conn, const char *queue, const char *body, bool redelivered) {
    amqp_rpc_reply_t reply = amqp_basic_get(conn, 1, bytes(queue), 0);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("basic.get: %s", describe(reply));
    if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD) fail("the queue is empty instead of having \"%s\"", body);
    amqp_basic_get_ok_t *ok = reply.reply.decoded;
    uint64_t tag = ok->delivery_tag;
    expect_int(ok->redelivered, redelivered, text("redelivered of \"%s\"", body));
    amqp_message_t message;
    amqp_read_message(conn, 1, &message, 0);
    expect_text(message.body, body, "body");
    return tag;
}

static void nack_requeue(void) {
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, 0);
    for (const char *body = "abcd"; *body; body++) publish(conn, "", queue, text("%c", *body));
    expect_get(conn, queue, "a", false);
    uint64_t second = expect_get(conn, queue, "b", false);
    amqp_basic_nack(conn, 1, second, 1, 1);
    amqp_basic_ack(conn, 1, expect_get(conn, queue, "a", true), 0);
    amqp_basic_ack(conn, 1, expect_get(conn, queue, "b", true), 0);
    amqp_basic_nack(conn, 1, expect_get(conn, queue, "c", false), 0, 0);
    amqp_basic_ack(conn, 1, expect_get(conn, queue, "d", false), 0);
    amqp_rpc_reply_t reply = amqp_basic_get(conn, 1, bytes(queue), 0);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL || reply.reply.id != AMQP_BASIC_GET_EMPTY_METHOD)
        fail("the queue is not empty at the end");
    disconnect(conn);
}

static void prefetch_fairness(void) {
    enum { SLOW = 1, FAST = 2 };
    amqp_connection_state_t publisher = connect_to_broker(), conn = connect_to_broker();
    char *queue = new_queue(publisher, 0);
    open_channel(conn, FAST);
    set_prefetch(conn, SLOW, 1);
    set_prefetch(conn, FAST, 1);
    consume(conn, SLOW, queue, false);
    consume(conn, FAST, queue, false);
    for (int i = 0; i < 20; i++) publish(publisher, "", queue, text("%d", i));

    /* The slow consumer acknowledges nothing, so all but its one message are for the fast one. */
    int at_slow = 0, at_fast = 0;
    amqp_envelope_t held = {0};
    while (at_slow + at_fast < 20) {
        amqp_envelope_t envelope = next_message(conn);
        if (envelope.channel == FAST) {
            at_fast++;
            ack(conn, &envelope);
        } else {
            at_slow++;
            held = envelope;
        }
    }
    expect_int(at_slow, 1, "messages at the slow consumer");
    ack(conn, &held);
    publish(publisher, "", queue, "more");
    publish(publisher, "", queue, "more");
    amqp_channel_t channels = next_message(conn).channel;
    channels += next_message(conn).channel;
    expect_int(channels, SLOW + FAST, "one more message for each, sum of their channels");
    disconnect(conn);
    disconnect(publisher);
}

static void exclusive_queue(void) {
    amqp_connection_state_t owner = connect_to_broker(), stranger = connect_to_broker();
    char *queue = new_queue(owner, EXCLUSIVE);
    char *locked = text("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '%s'", queue, vhost());
    declare_queue(stranger, 1, queue, EXCLUSIVE, amqp_empty_table);
    expect_channel_error(stranger, 1, AMQP_RESOURCE_LOCKED, locked, false);
    declare_queue(stranger, 1, queue, PASSIVE, amqp_empty_table);
    expect_channel_error(stranger, 1, AMQP_RESOURCE_LOCKED, locked, false);
    amqp_basic_consume(stranger, 1, bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    expect_channel_error(stranger, 1, AMQP_RESOURCE_LOCKED, locked, false);
    amqp_queue_delete(stranger, 1, bytes(queue), 0, 0);
    expect_channel_error(stranger, 1, AMQP_RESOURCE_LOCKED, locked, false);

    publish(owner, "", queue, "mine");
    expect_message(owner, queue, "mine");
    disconnect(owner);
    declare_queue(stranger, 1, queue, PASSIVE, amqp_empty_table);
    expect_channel_error(stranger, 1, AMQP_NOT_FOUND, text("NOT_FOUND - no queue '%s' in vhost '%s'", queue, vhost()), true);
    disconnect(stranger);
}

static void auto_delete_queue(void) {
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, AUTO_DELETE);
    amqp_bytes_t first = consume(conn, 1, queue, false), second = consume(conn, 1, queue, false);
    cancel(conn, first);
    expect_int(queue_state(conn, queue).consumer_count, 1, "consumers left");
    cancel(conn, second);
    for (double deadline = now() + 5; declare_queue(conn, 1, queue, PASSIVE, amqp_empty_table);)
        if (now() > deadline) fail("the queue is still there");
    expect_channel_error(conn, 1, AMQP_NOT_FOUND, text("NOT_FOUND - no queue '%s' in vhost '%s'", queue, vhost()), true);
    disconnect(conn);
}

static void redeclare_errors(void) {
    amqp_table_entry_t ten = {bytes("x-max-length"), {.kind = AMQP_FIELD_KIND_I32, .value.i32 = 10}};
    amqp_table_entry_t twenty = {bytes("x-max-length"), {.kind = AMQP_FIELD_KIND_I32, .value.i32 = 20}};
    amqp_table_t limit_10 = {1, &ten}, limit_20 = {1, &twenty};
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue_with(conn, DURABLE, limit_10), *exchange = new_exchange(conn, "fanout", 0);
    declare_queue(conn, 1, queue, DURABLE, limit_10);
    check(conn, "redeclaring the queue as it is");

    struct {
        int flags;
        amqp_table_t arguments;
        const char *arg, *detail;
    } wrong[] = {
        {0, limit_10, "durable", "received 'false' but current is 'true'"},
        {DURABLE | AUTO_DELETE, limit_10, "auto_delete", "received 'true' but current is 'false'"},
        {DURABLE, limit_20, "x-max-length", "received '20' but current is '10'"},
        {DURABLE, amqp_empty_table, "x-max-length", "received none but current is the value '10' of type 'signedint'"},
    };
    for (int i = 0; i < COUNT(wrong); i++) {
        declare_queue(conn, 1, queue, wrong[i].flags, wrong[i].arguments);
        expect_channel_error(conn, 1, AMQP_PRECONDITION_FAILED,
                             text("PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '%s': %s", wrong[i].arg,
                                  queue, vhost(), wrong[i].detail),
                             true);
    }
    amqp_exchange_declare(conn, 1, bytes(exchange), bytes("direct"), 0, 0, 0, 0, amqp_empty_table);
    expect_channel_error(conn, 1, AMQP_PRECONDITION_FAILED,
                         text("PRECONDITION_FAILED - inequivalent arg 'type' for exchange '%s' in vhost '%s': "
                              "received 'direct' but current is 'fanout'",
                              exchange, vhost()),
                         true);
    char *missing = unique("missing");
    declare_queue(conn, 1, missing, PASSIVE, amqp_empty_table);
    expect_channel_error(conn, 1, AMQP_NOT_FOUND, text("NOT_FOUND - no queue '%s' in vhost '%s'", missing, vhost()), true);
    amqp_exchange_declare(conn, 1, bytes(missing), bytes("direct"), 1, 0, 0, 0, amqp_empty_table);
    expect_channel_error(conn, 1, AMQP_NOT_FOUND, text("NOT_FOUND - no exchange '%s' in vhost '%s'", missing, vhost()), true);
    disconnect(conn);
}

static void reconnect_after_restart(void) {
    struct timeval patience = {DEADLINE, 0};
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, DURABLE), *exchange = new_exchange(conn, "direct", DURABLE);
    bind_queue(conn, queue, exchange, "key");
    if (!broker("restart")) fail("the broker did not restart");

    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(conn, &frame, &patience);
    if (status != AMQP_STATUS_OK) fail("no connection.close: %s", amqp_error_string2(status));
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_CONNECTION_CLOSE_METHOD)
        fail("another frame instead of connection.close");
    amqp_connection_close_t *close = frame.payload.method.decoded;
    expect_int(close->reply_code, AMQP_CONNECTION_FORCED, "reply code");
    expect_prefix(close->reply_text, "CONNECTION_FORCED", "reply text");
    amqp_destroy_connection(conn);

    conn = reconnect();
    amqp_exchange_declare(conn, 1, bytes(exchange), bytes("direct"), 1, 0, 0, 0, amqp_empty_table);
    check(conn, "passive exchange.declare");
    queue_state(conn, queue);
    publish(conn, exchange, "key", "through the binding");
    expect_message(conn, queue, "through the binding");
    disconnect(conn);
}

static void body_10_mib(void) {
    amqp_bytes_t body = amqp_bytes_malloc(10 << 20);
    for (uint32_t i = 0; i < body.len; i++) ((unsigned char *)body.bytes)[i] = (i * 2654435761u) >> 13;
    amqp_connection_state_t conn = connect_to_broker();
    char *queue = new_queue(conn, 0);
    publish_bytes(conn, 1, "", queue, false, NULL, body);
    consume(conn, 1, queue, true);
    amqp_bytes_t received = next_message(conn).message.body;
    expect_int(received.len, body.len, "length of the body");
    if (memcmp(received.bytes, body.bytes, body.len) != 0) fail("the body came back with other bytes");
    disconnect(conn);
}

static void channels_2000(void) {
    static bool seen[2001];
    amqp_connection_state_t conn = connect_with_heartbeat(0);
    for (int channel = 1; channel <= 2000; channel++) open_channel(conn, channel);
    char *queue = new_queue(conn, 0);
    for (int channel = 1; channel <= 2000; channel++)
        publish_bytes(conn, channel, "", queue, false, NULL, bytes(text("%d", channel)));
    consume(conn, 2000, queue, true);
    for (int i = 0; i < 2000; i++) {
        amqp_envelope_t envelope = next_message(conn);
        expect_int(envelope.channel, 2000, "channel of the consumer");
        int channel = atoi(string(envelope.message.body));
        if (channel < 1 || channel > 2000 || seen[channel]) fail("an unexpected message \"%s\"", string(envelope.message.body));
        seen[channel] = true;
        amqp_destroy_envelope(&envelope);
    }
    disconnect(conn);
}

static void heartbeat_timeout(void) {
    amqp_connection_state_t conn = connect_with_heartbeat(2);
    open_channel(conn, 1);
    if (!broker("pause")) fail("the broker could not be paused");
    struct timeval patience = {30, 0};
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(conn, &frame, &patience);
    if (!broker("resume")) fail("the broker could not be resumed");
    if (status != AMQP_STATUS_HEARTBEAT_TIMEOUT) fail("status \"%s\" instead of a heartbeat time-out", amqp_error_string2(status));

    conn = reconnect();
    char *queue = new_queue(conn, 0);
    publish(conn, "", queue, "alive");
    expect_message(conn, queue, "alive");
    disconnect(conn);
}

int main(int argc, char **argv) {
    static const struct test_case cases[] = {
        {"tutorial-1-hello-world", 60, hello_world},
        {"tutorial-2-work-queues", 60, work_queues},
        {"tutorial-3-publish-subscribe", 60, publish_subscribe},
        {"tutorial-4-routing", 60, routing},
        {"tutorial-5-topics", 60, topics},
        {"tutorial-6-rpc", 60, rpc},
        {"tutorial-7-confirms-one-by-one", 60, confirms_one_by_one},
        {"tutorial-7-confirms-batch", 60, confirms_batch},
        {"tutorial-7-confirms-asynchronous", 60, confirms_asynchronous},
        {"mandatory-return", 60, mandatory_return},
        {"nack-requeue", 60, nack_requeue},
        {"prefetch-fairness", 60, prefetch_fairness},
        {"exclusive-queue", 60, exclusive_queue},
        {"auto-delete-queue", 60, auto_delete_queue},
        {"redeclare-errors", 60, redeclare_errors},
        {"reconnect-after-restart", 150, reconnect_after_restart},
        {"body-10-mib", 60, body_10_mib},
        {"channels-2000", 180, channels_2000},
        {"heartbeat-timeout", 90, heartbeat_timeout},
    };
    printf("client librabbitmq %s\n", amqp_version());
    return run_cases(cases, COUNT(cases), argc, argv);
}
