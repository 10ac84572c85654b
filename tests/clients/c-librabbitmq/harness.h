/* Runs each case in a process of its own, with a deadline, and has what the cases share. */

#ifndef HARNESS_H
#define HARNESS_H

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE = 15 }; /* seconds for a message or an event to come in */

struct test_case {
    const char *name;
    int seconds;
    void (*run)(void);
};

static int report_fd = -1;

/* Ends the case as failed. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    if (write(report_fd, text, strlen(text)) < 0) perror("write");
    _exit(1);
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return value;
}

static const char *vhost(void) { return setting("AMQP_VHOST"); }

/* restart, pause or resume the broker. */
static bool broker(const char *action) {
    pid_t pid = fork();
    if (pid == 0) {
        const char *ctl = setting("BROKER_CTL");
        execl(ctl, ctl, action, (char *)NULL);
        _exit(127);
    }
    int status;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* A new string, as with sprintf. It lives as long as the case. */
__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...) {
    char *result;
    va_list args;
    va_start(args, format);
    if (vasprintf(&result, format, args) < 0) abort();
    va_end(args);
    return result;
}

static amqp_bytes_t bytes(const char *string) { return amqp_cstring_bytes(string); }

static char *string(amqp_bytes_t value) { return text("%.*s", (int)value.len, (char *)value.bytes); }

static void expect_int(long actual, long expected, const char *what) {
    if (actual != expected) fail("%s: got %ld instead of %ld", what, actual, expected);
}

static void expect_text(amqp_bytes_t actual, const char *expected, const char *what) {
    if (strcmp(string(actual), expected) != 0) fail("%s: got \"%s\" instead of \"%s\"", what, string(actual), expected);
}

static void expect_prefix(amqp_bytes_t actual, const char *prefix, const char *what) {
    if (strncmp(string(actual), prefix, strlen(prefix)) != 0)
        fail("%s: got \"%s\", which does not begin with \"%s\"", what, string(actual), prefix);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* What a reply that is not a normal one says. */
static char *describe(amqp_rpc_reply_t reply) {
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) return text("%s", amqp_error_string2(reply.library_error));
    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) return "no error";
    if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_t *close = reply.reply.decoded;
        return text("channel closed with %d %s", close->reply_code, string(close->reply_text));
    }
    if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        amqp_connection_close_t *close = reply.reply.decoded;
        return text("connection closed with %d %s", close->reply_code, string(close->reply_text));
    }
    return text("unexpected method 0x%08x", reply.reply.id);
}

/* The last operation of the connection must have gone well. */
static void check(amqp_connection_state_t conn, const char *what) {
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(conn);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("%s: %s", what, describe(reply));
}

/* A new connection, or NULL and the reason in *why. */
static amqp_connection_state_t try_connect(int heartbeat, char **why) {
    struct timeval patience = {DEADLINE, 0};
    amqp_connection_state_t conn = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(conn);
    amqp_set_handshake_timeout(conn, &patience);
    amqp_set_rpc_timeout(conn, &patience);
    int status = amqp_socket_open_noblock(socket, setting("AMQP_HOST"), atoi(setting("AMQP_PORT")), &patience);
    if (status != AMQP_STATUS_OK) {
        *why = text("connect: %s", amqp_error_string2(status));
    } else {
        amqp_rpc_reply_t reply = amqp_login(conn, vhost(), AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE, heartbeat,
                                            AMQP_SASL_METHOD_PLAIN, setting("AMQP_USER"), setting("AMQP_PASS"));
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) return conn;
        *why = text("login: %s", describe(reply));
    }
    amqp_destroy_connection(conn);
    return NULL;
}

static amqp_connection_state_t connect_with_heartbeat(int heartbeat) {
    char *why;
    amqp_connection_state_t conn = try_connect(heartbeat, &why);
    if (!conn) fail("%s", why);
    return conn;
}

static void open_channel(amqp_connection_state_t conn, amqp_channel_t channel) {
    amqp_channel_open(conn, channel);
    check(conn, "channel.open");
}

/* A connection with channel 1 open. */
static amqp_connection_state_t connect_to_broker(void) {
    amqp_connection_state_t conn = connect_with_heartbeat(0);
    open_channel(conn, 1);
    return conn;
}

/* The same, as soon as the broker takes connections again. */
static amqp_connection_state_t reconnect(void) {
    double deadline = now() + 30;
    char *why;
    for (;;) {
        amqp_connection_state_t conn = try_connect(0, &why);
        if (conn) {
            open_channel(conn, 1);
            return conn;
        }
        if (now() > deadline) fail("no new connection: %s", why);
        usleep(100 * 1000);
    }
}

static void disconnect(amqp_connection_state_t conn) {
    amqp_rpc_reply_t reply = amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("connection.close: %s", describe(reply));
    amqp_destroy_connection(conn);
}

static char *unique(const char *word) {
    static int number;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return text("clients.%s.%lx%lx.%d.%d", word, (long)t.tv_sec, t.tv_nsec, (int)getpid(), number++);
}

/* Queues and exchanges to delete at the end of the case. */
static const char *scratch_queues[8], *scratch_exchanges[8];
static int queue_count, exchange_count;

enum { DURABLE = 1, EXCLUSIVE = 2, AUTO_DELETE = 4, PASSIVE = 8 };

static amqp_queue_declare_ok_t *declare_queue(amqp_connection_state_t conn, amqp_channel_t channel, const char *name,
                                              int flags, amqp_table_t arguments) {
    return amqp_queue_declare(conn, channel, bytes(name), (flags & PASSIVE) != 0, (flags & DURABLE) != 0,
                              (flags & EXCLUSIVE) != 0, (flags & AUTO_DELETE) != 0, arguments);
}

static char *new_queue_with(amqp_connection_state_t conn, int flags, amqp_table_t arguments) {
    char *name = unique("queue");
    declare_queue(conn, 1, name, flags, arguments);
    check(conn, "queue.declare");
    if (!(flags & EXCLUSIVE)) scratch_queues[queue_count++] = name;
    return name;
}

static char *new_queue(amqp_connection_state_t conn, int flags) {
    return new_queue_with(conn, flags, amqp_empty_table);
}

static char *new_exchange(amqp_connection_state_t conn, const char *type, int flags) {
    char *name = unique(type);
    amqp_exchange_declare(conn, 1, bytes(name), bytes(type), 0, (flags & DURABLE) != 0, 0, 0, amqp_empty_table);
    check(conn, "exchange.declare");
    scratch_exchanges[exchange_count++] = name;
    return name;
}

static void clean_up(void) {
    if (queue_count == 0 && exchange_count == 0) return;
    amqp_connection_state_t conn = connect_to_broker();
    for (int i = 0; i < queue_count; i++) amqp_queue_delete(conn, 1, bytes(scratch_queues[i]), 0, 0);
    for (int i = 0; i < exchange_count; i++) amqp_exchange_delete(conn, 1, bytes(scratch_exchanges[i]), 0);
    disconnect(conn);
}

static void bind_queue(amqp_connection_state_t conn, const char *queue, const char *exchange, const char *key) {
    amqp_queue_bind(conn, 1, bytes(queue), bytes(exchange), bytes(key), amqp_empty_table);
    check(conn, "queue.bind");
}

static amqp_queue_declare_ok_t queue_state(amqp_connection_state_t conn, const char *queue) {
    amqp_queue_declare_ok_t *state = declare_queue(conn, 1, queue, PASSIVE, amqp_empty_table);
    check(conn, "passive queue.declare");
    return *state;
}

static void publish_bytes(amqp_connection_state_t conn, amqp_channel_t channel, const char *exchange, const char *key,
                          bool mandatory, const amqp_basic_properties_t *properties, amqp_bytes_t body) {
    int status = amqp_basic_publish(conn, channel, bytes(exchange), bytes(key), mandatory, 0, properties, body);
    if (status != AMQP_STATUS_OK) fail("basic.publish: %s", amqp_error_string2(status));
}

static void publish(amqp_connection_state_t conn, const char *exchange, const char *key, const char *body) {
    publish_bytes(conn, 1, exchange, key, false, NULL, bytes(body));
}

static void set_prefetch(amqp_connection_state_t conn, amqp_channel_t channel, int count) {
    amqp_basic_qos(conn, channel, 0, count, 0);
    check(conn, "basic.qos");
}

/* Starts a consumer and gives its tag. */
static amqp_bytes_t consume(amqp_connection_state_t conn, amqp_channel_t channel, const char *queue, bool no_ack) {
    amqp_basic_consume_ok_t *ok =
        amqp_basic_consume(conn, channel, bytes(queue), amqp_empty_bytes, 0, no_ack, 0, amqp_empty_table);
    check(conn, "basic.consume");
    return amqp_bytes_malloc_dup(ok->consumer_tag);
}

static void cancel(amqp_connection_state_t conn, amqp_bytes_t tag) {
    amqp_basic_cancel(conn, 1, tag);
    check(conn, "basic.cancel");
}

static amqp_envelope_t next_message(amqp_connection_state_t conn) {
    struct timeval patience = {DEADLINE, 0};
    amqp_envelope_t envelope;
    amqp_rpc_reply_t reply = amqp_consume_message(conn, &envelope, &patience, 0);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("waiting for a message: %s", describe(reply));
    return envelope;
}

static void ack(amqp_connection_state_t conn, amqp_envelope_t *envelope) {
    int status = amqp_basic_ack(conn, envelope->channel, envelope->delivery_tag, 0);
    if (status != AMQP_STATUS_OK) fail("basic.ack: %s", amqp_error_string2(status));
}

/* Consumes this many messages of a queue and acknowledges them; they must have these bodies. */
static void expect_messages(amqp_connection_state_t conn, const char *queue, const char *const *bodies, int count) {
    amqp_bytes_t tag = consume(conn, 1, queue, false);
    for (int i = 0; i < count; i++) {
        amqp_envelope_t envelope = next_message(conn);
        expect_text(envelope.message.body, bodies[i], text("message %d", i));
        ack(conn, &envelope);
        amqp_destroy_envelope(&envelope);
    }
    cancel(conn, tag);
}

static void expect_message(amqp_connection_state_t conn, const char *queue, const char *body) {
    expect_messages(conn, queue, &body, 1);
}

/* The broker must have closed the channel in answer to the last operation. The channel is open again after it. */
static void expect_channel_error(amqp_connection_state_t conn, amqp_channel_t channel, int code, const char *reply_text,
                                 bool whole) {
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(conn);
    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION || reply.reply.id != AMQP_CHANNEL_CLOSE_METHOD)
        fail("%s instead of a channel error %d", describe(reply), code);
    amqp_channel_close_t *close = reply.reply.decoded;
    expect_int(close->reply_code, code, "reply code");
    (whole ? expect_text : expect_prefix)(close->reply_text, reply_text, "reply text");
    amqp_channel_close_ok_t ok = {0};
    amqp_send_method(conn, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    open_channel(conn, channel);
}

/* Runs one case; gives false and the reason if it failed. */
static bool run_case(const struct test_case *test, char *reason, size_t size) {
    int fds[2];
    if (pipe(fds) < 0) abort();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        report_fd = fds[1];
        test->run();
        clean_up();
        _exit(0);
    }
    close(fds[1]);

    struct pollfd ended = {.fd = fds[0], .events = POLLIN};
    int ready = poll(&ended, 1, test->seconds * 1000);
    if (ready <= 0) kill(pid, SIGKILL);
    ssize_t length = ready > 0 ? read(fds[0], reason, size - 1) : 0;
    reason[length > 0 ? length : 0] = '\0';
    close(fds[0]);
    int status;
    waitpid(pid, &status, 0);
    if (ready <= 0)
        snprintf(reason, size, "no end after %d s", test->seconds);
    else if (status != 0 && !reason[0])
        snprintf(reason, size, "the case's process ended with status 0x%x", status);
    return status == 0;
}

/* Runs the cases named on the command line, or all of them. */
static int run_cases(const struct test_case *cases, size_t count, int argc, char **argv) {
    bool all_passed = true;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < count; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], cases[i].name) == 0;
        if (!wanted) continue;
        char reason[1024];
        if (run_case(&cases[i], reason, sizeof reason)) {
            printf("ok %s\n", cases[i].name);
        } else {
            all_passed = false;
            printf("not ok %s - %s\n", cases[i].name, reason);
            if (strcmp(cases[i].name, "heartbeat-timeout") == 0)
                broker("resume"); /* it may have ended while the broker was paused */
        }
        fflush(stdout);
    }
    return all_passed ? 0 : 1;
}

#endif
