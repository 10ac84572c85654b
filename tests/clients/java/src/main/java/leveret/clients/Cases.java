package leveret.clients;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.MissedHeartbeatException;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.RpcServer;
import com.rabbitmq.client.ShutdownSignalException;
import com.rabbitmq.client.impl.recovery.AutorecoveringConnection;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The cases, in the order in which they run. */
final class Cases {
  private static final String DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";
  private static final String END = "end";
  private static final int MANY_CHANNELS = 2000;
  private static final int MIB = 1024 * 1024;

  static final List<Case> ALL =
      List.of(
          Case.of("tutorial-1-hello-world", Cases::helloWorld),
          Case.of("tutorial-2-work-queues", Cases::workQueues),
          Case.of("tutorial-3-publish-subscribe", Cases::publishSubscribe),
          Case.of("tutorial-4-routing", Cases::routing),
          Case.of("tutorial-5-topics", Cases::topics),
          Case.of("tutorial-6-rpc", Cases::rpc),
          Case.of("tutorial-7-confirms-one-by-one", Cases::confirmsOneByOne),
          Case.of("tutorial-7-confirms-batch", Cases::confirmsBatch),
          Case.of("tutorial-7-confirms-asynchronous", Cases::confirmsAsynchronous),
          Case.of("mandatory-return", Cases::mandatoryReturn),
          Case.of("nack-requeue", Cases::nackRequeue),
          Case.of("prefetch-fairness", Cases::prefetchFairness),
          Case.of("exclusive-queue", Cases::exclusiveQueue),
          Case.of("auto-delete-queue", Cases::autoDeleteQueue),
          Case.of("redeclare-errors", Cases::redeclareErrors),
          Case.slow("reconnect-after-restart", Cases::reconnectAfterRestart),
          Case.slow("body-10-mib", Cases::bigBody),
          Case.slow("channels-2000", Cases::channels2000),
          Case.slow("heartbeat-timeout", Cases::heartbeatTimeout));

  private Cases() {}

  private static byte[] bytes(Object text) {
    return String.valueOf(text).getBytes(StandardCharsets.UTF_8);
  }

  private static String text(byte[] body) {
    return new String(body, StandardCharsets.UTF_8);
  }

  private static String text(Delivery delivery) {
    return text(delivery.getBody());
  }

  private static void publish(Channel channel, String exchange, String key, Object body)
      throws IOException {
    channel.basicPublish(exchange, key, null, bytes(body));
  }

  private static String transientQueue(Channel channel, String name) throws IOException {
    return channel.queueDeclare(name, false, false, false, null).getQueue();
  }

  /** Starts a consumer; what it receives goes to the returned queue. */
  private static BlockingQueue<Delivery> consume(
      Channel channel, String queue, String tag, boolean autoAck) throws IOException {
    BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
    channel.basicConsume(
        queue, autoAck, tag, (consumer, delivery) -> inbox.add(delivery), consumer -> {});
    return inbox;
  }

  private static long ready(Channel channel, String queue) throws IOException {
    return channel.queueDeclarePassive(queue).getMessageCount();
  }

  private static void ack(Channel channel, Delivery delivery) throws IOException {
    channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
  }

  /** Whether a passive declare of the queue answers 404. */
  private static boolean gone(Connection connection, String queue) throws Exception {
    Channel channel = connection.createChannel();
    try {
      channel.queueDeclarePassive(queue);
      channel.close();
      return false;
    } catch (IOException e) {
      if (e.getCause() instanceof ShutdownSignalException signal) {
        Check.equal("passive declare", Refusal.of(signal), Refusal.notFound("queue", queue));
        return true;
      }
      throw e;
    }
  }

  private static void helloWorld(Scope scope) throws Exception {
    String queue = scope.queueName("hello");
    Channel channel = scope.connect().createChannel();
    AMQP.Queue.DeclareOk declared = channel.queueDeclare(queue, false, false, false, null);
    Check.equal("name in declare-ok", declared.getQueue(), queue);
    Check.equal("message count", declared.getMessageCount(), 0);
    Check.equal("consumer count", declared.getConsumerCount(), 0);

    publish(channel, "", queue, "Hello World!");
    Delivery delivery = Check.next("message", consume(channel, queue, "hello", true));
    Check.equal("body", text(delivery), "Hello World!");
    Check.equal("exchange", delivery.getEnvelope().getExchange(), "");
    Check.equal("routing key", delivery.getEnvelope().getRoutingKey(), queue);
    Check.equal("redelivered", delivery.getEnvelope().isRedeliver(), false);
    Check.equal("delivery tag", delivery.getEnvelope().getDeliveryTag(), 1L);

    AMQP.Queue.DeclareOk after = channel.queueDeclarePassive(queue);
    Check.equal("message count", after.getMessageCount(), 0);
    Check.equal("consumer count", after.getConsumerCount(), 1);
    Check.equal("consumerCount()", channel.consumerCount(queue), 1L);
  }

  private static void workQueues(Scope scope) throws Exception {
    int tasks = 8;
    int workers = 2;
    String queue = scope.queueName("task_queue");
    Connection connection = scope.connect();
    Channel producer = connection.createChannel();
    producer.queueDeclare(queue, true, false, false, null);
    Set<String> sent = new TreeSet<>();
    for (int i = 0; i < tasks; i++) {
      sent.add("task " + i);
      producer.basicPublish(
          "", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("task " + i));
    }

    List<Channel> channels = new ArrayList<>();
    List<BlockingQueue<Delivery>> inboxes = new ArrayList<>();
    for (int i = 0; i < workers; i++) {
      Channel channel = connection.createChannel();
      channel.basicQos(1);
      channels.add(channel);
      inboxes.add(consume(channel, queue, "", false));
    }
    List<String> done = new ArrayList<>();
    for (int left = tasks - workers; left >= 0; left -= workers) {
      List<Delivery> held = new ArrayList<>();
      for (BlockingQueue<Delivery> inbox : inboxes) {
        held.add(Check.next("task", inbox));
      }
      Check.equal("tasks left while each worker holds one", ready(producer, queue), (long) left);
      for (int i = 0; i < workers; i++) {
        Delivery task = held.get(i);
        Check.equal("delivery mode", task.getProperties().getDeliveryMode(), 2);
        Check.equal("content type", task.getProperties().getContentType(), "text/plain");
        done.add(text(task));
        ack(channels.get(i), task);
      }
    }
    Check.equal("number of tasks done", done.size(), tasks);
    Check.equal("tasks done", new TreeSet<>(done), sent);

    for (Channel channel : channels) {
      channel.close();
    }
    Check.equal("tasks that came back", ready(producer, queue), 0L);
  }

  private static void publishSubscribe(Scope scope) throws Exception {
    String logs = scope.exchangeName("logs");
    Channel channel = scope.connect().createChannel();
    channel.exchangeDeclare(logs, BuiltinExchangeType.FANOUT);
    List<String> queues = new ArrayList<>();
    List<BlockingQueue<Delivery>> inboxes = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      String queue = channel.queueDeclare().getQueue();
      Check.that("the broker named it: " + queue, queue.matches("amq\\.gen-.+"));
      channel.queueBind(queue, logs, "");
      queues.add(queue);
      inboxes.add(consume(channel, queue, "", true));
    }
    Check.that("different names", !queues.get(0).equals(queues.get(1)));

    publish(channel, logs, "any key", "to both");
    for (BlockingQueue<Delivery> inbox : inboxes) {
      Check.equal("log", text(Check.next("log", inbox)), "to both");
    }
    channel.queueUnbind(queues.get(1), logs, "");
    publish(channel, logs, "", "to the first");
    publish(channel, "", queues.get(1), "straight to the second");
    Check.equal("first", text(Check.next("log", inboxes.get(0))), "to the first");
    Check.equal("second", text(Check.next("log", inboxes.get(1))), "straight to the second");
  }

  /** Binds a queue per list of patterns, publishes to every key, compares what arrives where. */
  private static void route(
      Scope scope,
      BuiltinExchangeType type,
      List<List<String>> bindings,
      List<String> keys,
      List<List<String>> expected)
      throws Exception {
    String exchange = scope.exchangeName(type.getType());
    Channel channel = scope.connect().createChannel();
    channel.exchangeDeclare(exchange, type);
    List<String> queues = new ArrayList<>();
    List<BlockingQueue<Delivery>> inboxes = new ArrayList<>();
    for (List<String> patterns : bindings) {
      String queue = channel.queueDeclare().getQueue();
      for (String pattern : patterns) {
        channel.queueBind(queue, exchange, pattern);
      }
      queues.add(queue);
      inboxes.add(consume(channel, queue, "", true));
    }
    for (String key : keys) {
      publish(channel, exchange, key, key);
    }
    for (String queue : queues) {
      publish(channel, "", queue, END);
    }
    List<List<String>> received = new ArrayList<>();
    for (BlockingQueue<Delivery> inbox : inboxes) {
      List<String> texts = new ArrayList<>();
      String body = text(Check.next("message", inbox));
      while (!body.equals(END)) {
        texts.add(body);
        body = text(Check.next("message", inbox));
      }
      received.add(texts);
    }
    Check.equal("what was routed where", received, expected);
  }

  private static void routing(Scope scope) throws Exception {
    route(
        scope,
        BuiltinExchangeType.DIRECT,
        List.of(List.of("error"), List.of("info", "warning", "error")),
        List.of("info", "debug", "error", "warning", "error.disk"),
        List.of(List.of("error"), List.of("info", "error", "warning")));
  }

  private static void topics(Scope scope) throws Exception {
    List<String> keys =
        List.of(
            "quick.orange.rabbit",
            "lazy.orange.elephant",
            "quick.orange.fox",
            "lazy.brown.fox",
            "lazy.pink.rabbit",
            "quick.brown.fox",
            "orange",
            "quick.orange.new.rabbit",
            "lazy.orange.new.rabbit",
            "lazy");
    route(
        scope,
        BuiltinExchangeType.TOPIC,
        List.of(List.of("*.orange.*"), List.of("*.*.rabbit", "lazy.#"), List.of("#")),
        keys,
        List.of(
            List.of("quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"),
            List.of(
                "quick.orange.rabbit",
                "lazy.orange.elephant",
                "lazy.brown.fox",
                "lazy.pink.rabbit",
                "lazy.orange.new.rabbit",
                "lazy"),
            keys));
  }

  private static long fibonacci(int n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
  }

  /** Serves Fibonacci numbers; the reply address of every request is added to the list. */
  private static final class FibonacciServer extends RpcServer {
    private final List<String> addresses;

    FibonacciServer(Channel channel, String queue, List<String> addresses) throws IOException {
      super(channel, queue);
      this.addresses = addresses;
    }

    @Override
    public byte[] handleCall(Delivery request, AMQP.BasicProperties reply) {
      addresses.add(request.getProperties().getReplyTo());
      return bytes(fibonacci(Integer.parseInt(text(request))));
    }
  }

  private static void rpc(Scope scope) throws Exception {
    String queue = scope.queueName("rpc_queue");
    Channel serverChannel = scope.connect().createChannel();
    transientQueue(serverChannel, queue);
    List<String> addresses = new CopyOnWriteArrayList<>();
    FibonacciServer server = new FibonacciServer(serverChannel, queue, addresses);
    Thread loop =
        new Thread(
            () -> {
              try {
                server.mainloop();
              } catch (IOException | ShutdownSignalException e) {
                System.err.println("RPC server: " + e);
              }
            });
    loop.setDaemon(true);
    loop.start();

    Connection connection = scope.connect();
    callOverReplyQueue(connection.createChannel(), queue, addresses);
    addresses.clear();

    RpcClient client =
        new RpcClient(
            new RpcClientParams()
                .channel(connection.createChannel())
                .exchange("")
                .routingKey(queue)
                .replyTo(DIRECT_REPLY_TO)
                .timeout((int) Check.DEADLINE.toMillis()));
    for (int n : new int[] {25, 7, 0}) {
      Check.equal("fibonacci " + n, client.stringCall("" + n), "" + fibonacci(n));
    }
    client.close();
    Check.equal("calls", addresses.size(), 3);
    Check.equal("number of reply addresses", new HashSet<>(addresses).size(), 1);
    Check.that(
        "reply address " + addresses.get(0), addresses.get(0).startsWith(DIRECT_REPLY_TO + "."));

    Check.equal(
        "a reply consumer that acknowledges",
        Refusal.when(connection, ch -> consume(ch, DIRECT_REPLY_TO, "", false)),
        new Refusal(
            AMQP.PRECONDITION_FAILED,
            "PRECONDITION_FAILED - reply consumer cannot acknowledge"));
    server.terminateMainloop();
  }

  private static void callOverReplyQueue(Channel channel, String queue, List<String> addresses)
      throws Exception {
    String replyTo = channel.queueDeclare().getQueue();
    BlockingQueue<Delivery> replies = consume(channel, replyTo, "", true);
    Map<String, Integer> calls = new HashMap<>();
    for (int n : new int[] {25, 7, 0}) {
      String id = UUID.randomUUID().toString();
      calls.put(id, n);
      AMQP.BasicProperties properties =
          new AMQP.BasicProperties.Builder().correlationId(id).replyTo(replyTo).build();
      channel.basicPublish("", queue, properties, bytes(n));
    }
    while (!calls.isEmpty()) {
      Delivery reply = Check.next("reply", replies);
      Integer n = calls.remove(reply.getProperties().getCorrelationId());
      Check.that("a known correlation id", n != null);
      Check.equal("fibonacci " + n, text(reply), "" + fibonacci(n));
    }
    Check.equal("reply addresses", addresses, List.of(replyTo, replyTo, replyTo));
  }

  private static void confirmsOneByOne(Scope scope) throws Exception {
    String queue = scope.queueName("confirms");
    Channel channel = scope.connect().createChannel();
    channel.queueDeclare(queue, true, false, false, null);
    channel.confirmSelect();
    for (long i = 1; i <= 20; i++) {
      Check.equal("next sequence number", channel.getNextPublishSeqNo(), i);
      channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes(i));
      channel.waitForConfirmsOrDie(5000);
      Check.equal("messages", ready(channel, queue), i);
    }
  }

  private static void confirmsBatch(Scope scope) throws Exception {
    String queue = scope.queueName("confirms");
    Channel channel = scope.connect().createChannel();
    transientQueue(channel, queue);
    channel.confirmSelect();
    for (int sent = 0; sent < 500; sent += 100) {
      for (int i = 0; i < 100; i++) {
        publish(channel, "", queue, sent + i);
      }
      channel.waitForConfirmsOrDie(5000);
      Check.equal("messages", ready(channel, queue), sent + 100L);
    }
  }

  private static void confirmsAsynchronous(Scope scope) throws Exception {
    int messages = 1000;
    String queue = scope.queueName("confirms");
    Channel channel = scope.connect().createChannel();
    transientQueue(channel, queue);
    channel.confirmSelect();
    ConcurrentNavigableMap<Long, String> outstanding = new ConcurrentSkipListMap<>();
    List<Long> strange = new CopyOnWriteArrayList<>();
    channel.addConfirmListener(
        (tag, multiple) -> {
          if (!outstanding.containsKey(tag)) {
            strange.add(tag);
          }
          if (multiple) {
            outstanding.headMap(tag, true).clear();
          } else {
            outstanding.remove(tag);
          }
        },
        (tag, multiple) -> strange.add(-tag));
    for (int i = 0; i < messages; i++) {
      outstanding.put(channel.getNextPublishSeqNo(), "" + i);
      publish(channel, "", queue, i);
    }
    Check.until("all confirmed", outstanding::isEmpty);
    Check.equal("nacks and confirms of unknown messages", strange, List.of());
    Check.equal("messages", ready(channel, queue), (long) messages);
  }

  private static void mandatoryReturn(Scope scope) throws Exception {
    String queue = scope.queueName("routable");
    String exchange = scope.exchangeName("direct");
    Channel channel = scope.connect().createChannel();
    transientQueue(channel, queue);
    channel.exchangeDeclare(exchange, BuiltinExchangeType.DIRECT);
    channel.queueBind(queue, exchange, "known");
    channel.confirmSelect();
    List<String> events = new CopyOnWriteArrayList<>();
    BlockingQueue<Return> returns = new LinkedBlockingQueue<>();
    channel.addReturnListener(
        returned -> {
          events.add("return");
          returns.add(returned);
        });
    channel.addConfirmListener((tag, multiple) -> events.add("ack"), (tag, multiple) -> {});

    AMQP.BasicProperties properties =
        new AMQP.BasicProperties.Builder().messageId("m-1").headers(Map.of("attempt", 1)).build();
    channel.basicPublish(exchange, "unknown", true, properties, bytes("lost?"));
    channel.waitForConfirmsOrDie(5000);
    Check.until("both arrived", () -> events.size() == 2);
    Check.equal("order", events, List.of("return", "ack"));
    Return returned = returns.take();
    Check.equal("reply code", returned.getReplyCode(), AMQP.NO_ROUTE);
    Check.equal("reply text", returned.getReplyText(), "NO_ROUTE");
    Check.equal("exchange", returned.getExchange(), exchange);
    Check.equal("routing key", returned.getRoutingKey(), "unknown");
    Check.equal("message id", returned.getProperties().getMessageId(), "m-1");
    Check.equal("headers", returned.getProperties().getHeaders(), Map.of("attempt", 1));
    Check.equal("body", text(returned.getBody()), "lost?");

    channel.basicPublish(exchange, "known", true, null, bytes("routed"));
    channel.basicPublish(exchange, "unknown", false, null, bytes("dropped"));
    channel.waitForConfirmsOrDie(5000);
    Check.equal("messages", ready(channel, queue), 1L);
    Check.that("no further return", returns.isEmpty());
  }

  /** What the redelivery cases compare of a message. */
  private record Arrival(String body, boolean redelivered) {
    static Arrival of(Delivery delivery) {
      return new Arrival(text(delivery), delivery.getEnvelope().isRedeliver());
    }

    static Arrival of(GetResponse response) {
      return new Arrival(text(response.getBody()), response.getEnvelope().isRedeliver());
    }
  }

  private static void nackRequeue(Scope scope) throws Exception {
    String queue = scope.queueName("nack");
    Channel channel = scope.connect().createChannel();
    transientQueue(channel, queue);
    for (String body : List.of("a", "b", "c")) {
      publish(channel, "", queue, body);
    }

    GetResponse first = channel.basicGet(queue, false);
    Check.equal("first", Arrival.of(first), new Arrival("a", false));
    Check.equal("messages left", first.getMessageCount(), 2);
    Check.equal("second", Arrival.of(channel.basicGet(queue, false)), new Arrival("b", false));
    channel.basicNack(first.getEnvelope().getDeliveryTag(), false, true);
    GetResponse again = channel.basicGet(queue, false);
    Check.equal("requeued in place", Arrival.of(again), new Arrival("a", true));
    channel.basicNack(again.getEnvelope().getDeliveryTag(), true, true);

    Arrival[] expected = {
      new Arrival("a", true), new Arrival("b", true), new Arrival("c", false)
    };
    channel.basicQos(3);
    BlockingQueue<Delivery> inbox = consume(channel, queue, "nacker", false);
    List<Delivery> held = new ArrayList<>();
    for (Arrival arrival : expected) {
      Delivery delivery = Check.next("message", inbox);
      Check.equal("after a multiple nack", Arrival.of(delivery), arrival);
      held.add(delivery);
    }
    channel.basicReject(held.get(0).getEnvelope().getDeliveryTag(), true);
    Delivery redelivered = Check.next("rejected message", inbox);
    Check.equal("after a reject", Arrival.of(redelivered), new Arrival("a", true));
    channel.basicNack(held.get(1).getEnvelope().getDeliveryTag(), false, false);
    ack(channel, held.get(2));
    channel.basicCancel("nacker");

    Check.equal("before recover", ready(channel, queue), 0L);
    channel.basicRecover(true);
    GetResponse recovered = channel.basicGet(queue, true);
    Check.that("basic.recover requeued the message", recovered != null);
    Check.equal("recovered", Arrival.of(recovered), new Arrival("a", true));
    Check.equal("nothing left", channel.basicGet(queue, true), null);
  }

  private static void prefetchFairness(Scope scope) throws Exception {
    String queue = scope.queueName("fair");
    Connection connection = scope.connect();
    Channel slow = connection.createChannel();
    Channel fast = connection.createChannel();
    Channel producer = connection.createChannel();
    transientQueue(producer, queue);
    slow.basicQos(1);
    fast.basicQos(1);
    BlockingQueue<Delivery> slowInbox = consume(slow, queue, "slow", false);
    BlockingQueue<Delivery> fastInbox = consume(fast, queue, "fast", false);
    for (int i = 0; i < 20; i++) {
      publish(producer, "", queue, i);
    }

    Delivery held = Check.next("message for the slow consumer", slowInbox);
    Set<String> bodies = new HashSet<>(List.of(text(held)));
    for (int i = 0; i < 19; i++) {
      Delivery delivery = Check.next("message for the fast consumer", fastInbox);
      bodies.add(text(delivery));
      ack(fast, delivery);
    }
    Check.equal("different messages", bodies.size(), 20);
    Check.that("the slow consumer has one message only", slowInbox.isEmpty());
    ack(slow, held);
    slow.basicCancel("slow");
    fast.basicCancel("fast");

    for (int i = 0; i < 12; i++) {
      publish(producer, "", queue, i);
    }
    Check.until("12 messages ready", () -> ready(producer, queue) == 12);
    Channel window = connection.createChannel();
    window.basicQos(5);
    BlockingQueue<Delivery> inbox = consume(window, queue, "", false);
    List<Delivery> taken = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      taken.add(Check.next("message", inbox));
    }
    Check.equal("messages left at prefetch 5", ready(producer, queue), 7L);
    window.basicAck(taken.get(1).getEnvelope().getDeliveryTag(), true);
    Check.next("message", inbox);
    Check.next("message", inbox);
    Check.equal("messages left after two acks", ready(producer, queue), 5L);
  }

  private static void exclusiveQueue(Scope scope) throws Exception {
    String queue = scope.queueName("exclusive");
    Connection owner = scope.connect();
    Connection other = scope.connect();
    Channel channel = owner.createChannel();
    channel.queueDeclare(queue, false, true, false, null);
    channel.queueDeclare(queue, false, true, false, null);

    Refusal locked = Refusal.locked(queue);
    Check.equal(
        "passive declare", Refusal.when(other, ch -> ch.queueDeclarePassive(queue)), locked);
    Check.equal(
        "declare",
        Refusal.when(other, ch -> ch.queueDeclare(queue, false, true, false, null)),
        locked);
    Check.equal("consume", Refusal.when(other, ch -> consume(ch, queue, "", true)), locked);

    owner.close();
    Check.until("the queue is deleted with its connection", () -> gone(other, queue));
  }

  private static void autoDeleteQueue(Scope scope) throws Exception {
    String queue = scope.queueName("auto_delete");
    Connection connection = scope.connect();
    Channel channel = connection.createChannel();
    channel.queueDeclare(queue, false, false, true, null);
    Check.that("unused so far, so still there", !gone(connection, queue));

    consume(channel, queue, "first", false);
    consume(channel, queue, "second", false);
    channel.basicCancel("first");
    Check.equal("consumers", channel.consumerCount(queue), 1L);
    channel.basicCancel("second");
    Check.until("the queue is deleted", () -> gone(connection, queue));
  }

  private static void redeclareErrors(Scope scope) throws Exception {
    String queue = scope.queueName("queue");
    String limited = scope.queueName("limited");
    String exchange = scope.exchangeName("exchange");
    String missing = scope.name("missing");
    Connection connection = scope.connect();
    Channel channel = connection.createChannel();
    channel.queueDeclare(queue, true, false, false, null);
    channel.queueDeclare(queue, true, false, false, null);
    channel.queueDeclare(limited, true, false, false, Map.of("x-max-length", 10));
    channel.queueDeclare(limited, true, false, false, Map.of("x-max-length", 10L));
    channel.exchangeDeclare(exchange, "direct", true);
    channel.exchangeDeclare(exchange, "direct", true);

    Check.equal(
        "not durable",
        Refusal.when(connection, ch -> ch.queueDeclare(queue, false, false, false, null)),
        Refusal.inequivalent("durable", "queue", queue, "'false'", "'true'"));
    Check.equal(
        "auto-delete",
        Refusal.when(connection, ch -> ch.queueDeclare(queue, true, false, true, null)),
        Refusal.inequivalent("auto_delete", "queue", queue, "'true'", "'false'"));
    Check.equal(
        "without x-max-length",
        Refusal.when(connection, ch -> ch.queueDeclare(limited, true, false, false, null)),
        Refusal.inequivalent(
            "x-max-length", "queue", limited, "none", "the value '10' of type 'signedint'"));
    Check.equal(
        "other x-max-length",
        Refusal.when(
            connection,
            ch -> ch.queueDeclare(limited, true, false, false, Map.of("x-max-length", 11))),
        Refusal.inequivalent("x-max-length", "queue", limited, "'11'", "'10'"));
    Check.equal(
        "fanout",
        Refusal.when(connection, ch -> ch.exchangeDeclare(exchange, "fanout", true)),
        Refusal.inequivalent("type", "exchange", exchange, "'fanout'", "'direct'"));
    Check.equal(
        "exchange not durable",
        Refusal.when(connection, ch -> ch.exchangeDeclare(exchange, "direct", false)),
        Refusal.inequivalent("durable", "exchange", exchange, "'false'", "'true'"));
    Check.equal(
        "passive queue",
        Refusal.when(connection, ch -> ch.queueDeclarePassive(missing)),
        Refusal.notFound("queue", missing));
    Check.equal(
        "passive exchange",
        Refusal.when(connection, ch -> ch.exchangeDeclarePassive(missing)),
        Refusal.notFound("exchange", missing));
    Check.equal(
        "publish to a missing exchange",
        Refusal.when(connection, ch -> publish(ch, missing, "key", "nowhere")),
        Refusal.notFound("exchange", missing));
    Check.equal(
        "reserved name",
        Refusal.when(connection, ch -> transientQueue(ch, "amq.mine")),
        new Refusal(
            AMQP.ACCESS_REFUSED,
            "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"));
    Check.equal("other channels stay usable", ready(channel, queue), 0L);
  }

  private static void reconnectAfterRestart(Scope scope) throws Exception {
    String queue = scope.queueName("durable");
    String exchange = scope.exchangeName("durable");
    Connection setup = scope.connect();
    Channel channel = setup.createChannel();
    channel.exchangeDeclare(exchange, BuiltinExchangeType.DIRECT, true);
    channel.queueDeclare(queue, true, false, false, null);
    channel.queueBind(queue, exchange, "key");
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    setup.addShutdownListener(closed::add);

    // The recovering connection declares nothing durable itself, so the durable
    // things it finds after the restart are what the broker kept.
    ConnectionFactory factory = Broker.factory();
    factory.setAutomaticRecoveryEnabled(true);
    factory.setNetworkRecoveryInterval(100);
    AutorecoveringConnection recovering = (AutorecoveringConnection) scope.connect(factory);
    recovering.addShutdownListener(closed::add);
    CountDownLatch recovered = new CountDownLatch(1);
    recovering.addRecoveryListener(
        new RecoveryListener() {
          @Override
          public void handleRecovery(Recoverable recoverable) {
            recovered.countDown();
          }

          @Override
          public void handleRecoveryStarted(Recoverable recoverable) {}
        });
    BlockingQueue<String> renamed = new LinkedBlockingQueue<>();
    recovering.addQueueRecoveryListener(
        (before, after) -> {
          renamed.add(before);
          renamed.add(after);
        });
    Channel survivor = recovering.createChannel();
    String temporary = survivor.queueDeclare().getQueue();
    survivor.queueBind(temporary, exchange, "key");
    BlockingQueue<Delivery> temporaryInbox = consume(survivor, temporary, "", true);
    BlockingQueue<Delivery> durableInbox = consume(survivor, queue, "survivor", true);

    Broker.control("restart");
    for (int i = 0; i < 2; i++) {
      Refusal reason = Refusal.of(Check.next("connection.close", closed));
      Check.equal("close code", reason.code(), AMQP.CONNECTION_FORCED);
      Check.that(reason.text(), reason.text().startsWith("CONNECTION_FORCED"));
    }
    Check.that("recovered within 30 s", recovered.await(30, TimeUnit.SECONDS));
    Check.equal("old name", Check.next("old name", renamed), temporary);
    Check.that("the queue has a new name", !Check.next("new name", renamed).equals(temporary));

    Channel producer = recovering.createChannel();
    producer.exchangeDeclarePassive(exchange);
    producer.confirmSelect();
    publish(producer, exchange, "key", "after");
    producer.waitForConfirmsOrDie(5000);
    Check.equal("durable", text(Check.next("message", durableInbox)), "after");
    Check.equal("temporary", text(Check.next("message", temporaryInbox)), "after");
  }

  private static void bigBody(Scope scope) throws Exception {
    String queue = scope.queueName("big");
    Connection connection = scope.connect();
    Channel channel = connection.createChannel();
    transientQueue(channel, queue);
    channel.confirmSelect();
    int payload = connection.getFrameMax() - 8;
    BlockingQueue<Delivery> inbox = consume(channel, queue, "", false);
    for (int size : new int[] {0, 1, payload, payload + 1, 2 * payload, 10 * MIB}) {
      byte[] body = new byte[size];
      new Random(size).nextBytes(body);
      channel.basicPublish("", queue, MessageProperties.BASIC, body);
      channel.waitForConfirmsOrDie(20_000);
      Delivery delivery =
          Check.next("body of " + size + " bytes", inbox, Duration.ofSeconds(20));
      Check.equal("size", delivery.getBody().length, size);
      Check.that("equal bodies of " + size + " bytes", Arrays.equals(delivery.getBody(), body));
      Check.equal(
          "content type",
          delivery.getProperties().getContentType(),
          MessageProperties.BASIC.getContentType());
      ack(channel, delivery);
    }
  }

  private static void channels2000(Scope scope) throws Exception {
    String queue = scope.queueName("channels");
    Connection connection = scope.connect();
    List<Channel> channels = new ArrayList<>();
    for (int i = 0; i < MANY_CHANNELS; i++) {
      Channel channel = connection.createChannel();
      Check.that("a channel number was free", channel != null);
      channels.add(channel);
    }
    Channel first = channels.get(0);
    transientQueue(first, queue);
    for (Channel channel : channels) {
      publish(channel, "", queue, channel.getChannelNumber());
    }
    Check.until("every message queued", () -> ready(first, queue) == MANY_CHANNELS);
    Set<String> bodies = new HashSet<>();
    for (Channel channel : channels) {
      GetResponse response = channel.basicGet(queue, true);
      Check.that("a message for channel " + channel.getChannelNumber(), response != null);
      bodies.add(text(response.getBody()));
    }
    Check.equal("different messages", bodies.size(), MANY_CHANNELS);
    for (Channel channel : channels) {
      channel.close();
    }
  }

  private static void heartbeatTimeout(Scope scope) throws Exception {
    int seconds = 2;
    String queue = scope.queueName("heartbeat");
    ConnectionFactory factory = Broker.factory();
    factory.setRequestedHeartbeat(seconds);
    Connection connection = scope.connect(factory);
    Check.equal("negotiated heartbeat", connection.getHeartbeat(), seconds);
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    connection.addShutdownListener(closed::add);
    Check.equal(
        "end of an idle connection, while the broker sends heartbeats",
        closed.poll(3 * seconds, TimeUnit.SECONDS),
        null);

    scope.onEnd(
        () -> {
          Broker.control("resume");
          return null;
        });
    long paused = System.nanoTime();
    Broker.control("pause");
    ShutdownSignalException signal =
        Check.next("heartbeat timeout", closed, Duration.ofSeconds(15));
    Check.that("missed heartbeats: " + signal, signal.getCause() instanceof MissedHeartbeatException);
    Check.that(
        "at least one interval of silence",
        System.nanoTime() - paused >= TimeUnit.SECONDS.toNanos(seconds));

    Broker.control("resume");
    Channel channel = scope.connect(factory).createChannel();
    transientQueue(channel, queue);
    channel.confirmSelect();
    publish(channel, "", queue, "alive");
    channel.waitForConfirmsOrDie(5000);
    Check.equal("message", text(channel.basicGet(queue, true).getBody()), "alive");
  }
}
