package leveret.clients.spring;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MissedHeartbeatException;
import com.rabbitmq.client.ShutdownSignalException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import leveret.clients.spring.Listeners.Attempt;
import leveret.clients.spring.Listeners.ReceivedOrder;
import leveret.clients.spring.Listeners.Task;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.AmqpAdmin;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.DirectExchange;
import org.springframework.amqp.core.FanoutExchange;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueInformation;
import org.springframework.amqp.core.ReturnedMessage;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.AsyncRabbitTemplate;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.Connection;
import org.springframework.amqp.rabbit.connection.ConnectionListener;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;
import org.springframework.amqp.rabbit.retry.RepublishMessageRecoverer;
import org.springframework.amqp.support.converter.MessageConverter;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.stereotype.Component;

/** What the cases of {@link Case} do. */
@Component
class Cases {
  private static final String DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";
  private static final int MANY_CHANNELS = 2000;
  private static final int MIB = 1024 * 1024;
  private static final long RECEIVE_MS = 5000;

  private final String run;
  private final String vhost;
  private final Workspace workspace;
  private final Listeners listeners;
  private final RabbitTemplate template;
  private final AmqpAdmin admin;
  private final CachingConnectionFactory connections;
  private final MessageConverter converter;
  private final FanoutExchange logs;
  private final Queue brokerNamed;
  private final BrokerControl broker;

  Cases(
      @Value("${run}") String run,
      Workspace workspace,
      Listeners listeners,
      RabbitTemplate template,
      AmqpAdmin admin,
      CachingConnectionFactory connections,
      MessageConverter converter,
      FanoutExchange logs,
      Queue brokerNamed,
      BrokerControl broker) {
    this.run = run;
    this.vhost = connections.getVirtualHost();
    this.workspace = workspace;
    this.listeners = listeners;
    this.template = template;
    this.admin = admin;
    this.connections = connections;
    this.converter = converter;
    this.logs = logs;
    this.brokerNamed = brokerNamed;
    this.broker = broker;
  }

  private static Message message(String body) {
    return MessageBuilder.withBody(body.getBytes(StandardCharsets.UTF_8)).build();
  }

  static String text(Message message) {
    return new String(message.getBody(), StandardCharsets.UTF_8);
  }

  private void send(String queue, String body) {
    template.send("", queue, message(body));
  }

  private QueueInformation info(String queue) {
    QueueInformation info = admin.getQueueInfo(queue);
    if (info == null) {
      throw new AssertionError("there is no queue " + queue);
    }
    return info;
  }

  private long ready(String queue) {
    return info(queue).getMessageCount();
  }

  /** Sends the message and waits for its confirm. */
  private CorrelationData sendConfirmed(String exchange, String key, Message message)
      throws Exception {
    CorrelationData correlation = new CorrelationData();
    template.send(exchange, key, message, correlation);
    CorrelationData.Confirm confirm = correlation.getFuture().get(RECEIVE_MS, TimeUnit.MILLISECONDS);
    Check.that("acked: " + confirm.reason(), confirm.ack());
    return correlation;
  }

  void helloWorld() throws Exception {
    String queue = run + ".hello";
    Check.equal("consumers", info(queue).getConsumerCount(), 1);
    template.convertAndSend(queue, "Hello World!");
    Check.equal("greeting", Check.next("greeting", listeners.hello), "Hello World!");
    Check.until("acknowledged", () -> ready(queue) == 0);
  }

  void workQueues() throws Exception {
    String queue = run + ".work";
    Set<String> sent = new TreeSet<>();
    for (int i = 0; i < 8; i++) {
      sent.add("task " + i);
      send(queue, "task " + i);
    }
    List<String> done = new ArrayList<>();
    for (long left = 6; left >= 0; left -= 2) {
      Task first = Check.next("task", listeners.work);
      Task second = Check.next("task", listeners.work);
      Check.equal("tasks left while each consumer holds one", ready(queue), left);
      for (Task task : List.of(first, second)) {
        Check.equal("delivery mode", task.mode(), MessageDeliveryMode.PERSISTENT);
        Check.equal("redelivered", task.redelivered(), false);
        done.add(task.body());
        task.ack();
      }
    }
    Check.equal("tasks", new TreeSet<>(done), sent);
    Check.equal("number of tasks", done.size(), sent.size());
  }

  void publishSubscribe() throws Exception {
    String name = brokerNamed.getActualName();
    Check.that("the broker named it: " + name, name.matches("amq\\.gen-.+"));
    template.convertAndSend(logs.getName(), "any key", "to both");
    Check.equal("anonymous", Check.next("log", listeners.anonymousLogs), "to both");
    Check.equal("named by the broker", Check.next("log", listeners.brokerNamedLogs), "to both");
  }

  void routing() throws Exception {
    DirectExchange exchange =
        workspace.declared(new DirectExchange(workspace.exchangeName("direct"), false, false));
    List<List<String>> bindings = List.of(List.of("error"), List.of("info", "warning", "error"));
    List<String> queues = new ArrayList<>();
    for (List<String> keys : bindings) {
      Queue queue = new Queue(workspace.queue("routed"), false);
      keys.forEach(key -> admin.declareBinding(BindingBuilder.bind(queue).to(exchange).with(key)));
      queues.add(queue.getName());
    }
    for (String key : List.of("info", "error", "warning")) {
      sendConfirmed(exchange.getName(), key, message(key));
    }
    CorrelationData debug = sendConfirmed(exchange.getName(), "debug", message("debug"));
    Check.that("nobody gets debug", debug.getReturned() != null);
    Check.equal("first queue", drain(queues.get(0)), List.of("error"));
    Check.equal("second queue", drain(queues.get(1)), List.of("info", "error", "warning"));
  }

  void topics() throws Exception {
    TopicExchange exchange =
        workspace.declared(new TopicExchange(workspace.exchangeName("topic"), false, false));
    List<List<String>> bindings =
        List.of(List.of("*.orange.*"), List.of("*.*.rabbit", "lazy.#"), List.of("#"));
    List<String> queues = new ArrayList<>();
    for (List<String> patterns : bindings) {
      Queue queue = new Queue(workspace.queue("topic"), false);
      patterns.forEach(p -> admin.declareBinding(BindingBuilder.bind(queue).to(exchange).with(p)));
      queues.add(queue.getName());
    }
    List<String> keys =
        List.of(
            "quick.orange.rabbit",
            "lazy.orange.elephant",
            "lazy.pink.rabbit",
            "quick.brown.fox",
            "orange",
            "quick.orange.new.rabbit",
            "lazy.orange.new.rabbit",
            "lazy");
    for (String key : keys) {
      sendConfirmed(exchange.getName(), key, message(key));
    }
    Check.equal(
        "*.orange.*", drain(queues.get(0)), List.of("quick.orange.rabbit", "lazy.orange.elephant"));
    Check.equal(
        "*.*.rabbit and lazy.#",
        drain(queues.get(1)),
        List.of(
            "quick.orange.rabbit",
            "lazy.orange.elephant",
            "lazy.pink.rabbit",
            "lazy.orange.new.rabbit",
            "lazy"));
    Check.equal("#", drain(queues.get(2)), keys);
  }

  /** Takes everything out of a queue, half by consuming and half by basic.get. */
  private List<String> drain(String queue) {
    List<String> texts = new ArrayList<>();
    long count = ready(queue);
    for (long i = 0; i < count; i++) {
      Message message = i % 2 == 0 ? template.receive(queue, RECEIVE_MS) : template.receive(queue);
      Check.that("a message in " + queue, message != null);
      texts.add(text(message));
    }
    Check.equal("after the last message", template.receive(queue), null);
    return texts;
  }

  void rpc() throws Exception {
    String queue = run + ".rpc";

    // Over a direct reply-to consumer that all calls share.
    call(template, queue);
    assertDirectReplies();

    // Over a direct reply-to consumer for each call.
    RabbitTemplate perCall = rpcTemplate();
    perCall.setUseDirectReplyToContainer(false);
    call(perCall, queue);
    assertDirectReplies();

    // Over a reply queue.
    String replies = run + ".replies";
    RabbitTemplate fixed = rpcTemplate();
    fixed.setReplyAddress(replies);
    fixed.afterPropertiesSet();
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
    container.setQueueNames(replies);
    container.setMessageListener(fixed);
    workspace.started(container);
    call(fixed, queue);
    Check.equal("reply addresses", Set.copyOf(takeReplyAddresses()), Set.of(replies));

    // Without waiting.
    AsyncRabbitTemplate async = new AsyncRabbitTemplate(rpcTemplate());
    async.start();
    workspace.onEnd(
        () -> {
          async.stop();
          return null;
        });
    Object result = async.convertSendAndReceive(queue, 20).get(RECEIVE_MS, TimeUnit.MILLISECONDS);
    Check.equal("fibonacci 20", ((Number) result).longValue(), Listeners.fibonacci(20));
    assertDirectReplies();
  }

  private RabbitTemplate rpcTemplate() {
    RabbitTemplate rpcTemplate = new RabbitTemplate(connections);
    rpcTemplate.setMessageConverter(converter);
    rpcTemplate.setReplyTimeout(RECEIVE_MS);
    return rpcTemplate;
  }

  private void call(RabbitTemplate caller, String queue) {
    for (int n : new int[] {20, 7, 0}) {
      Object result = caller.convertSendAndReceive(queue, n);
      Check.that("a reply in time", result instanceof Number);
      Check.equal("fibonacci " + n, ((Number) result).longValue(), Listeners.fibonacci(n));
    }
  }

  private List<String> takeReplyAddresses() {
    List<String> addresses = List.copyOf(listeners.replyAddresses);
    listeners.replyAddresses.clear();
    return addresses;
  }

  private void assertDirectReplies() {
    List<String> addresses = takeReplyAddresses();
    Check.that("there were calls", !addresses.isEmpty());
    for (String address : addresses) {
      Check.that("direct reply-to: " + address, address.startsWith(DIRECT_REPLY_TO + "."));
    }
  }

  void confirmsOneByOne() throws Exception {
    String queue = workspace.queue("confirms");
    for (long i = 1; i <= 20; i++) {
      CorrelationData correlation = sendConfirmed("", queue, message("one"));
      Check.equal("returned", correlation.getReturned(), null);
      Check.equal("messages", ready(queue), i);
    }
  }

  void confirmsBatch() throws Exception {
    String queue = workspace.queue("confirms");
    CachingConnectionFactory simple = workspace.connectionFactory();
    simple.setPublisherConfirmType(CachingConnectionFactory.ConfirmType.SIMPLE);
    RabbitTemplate batches = new RabbitTemplate(simple);
    for (long sent = 0; sent < 500; sent += 100) {
      batches.invoke(
          operations -> {
            for (int i = 0; i < 100; i++) {
              operations.send("", queue, message("batch"));
            }
            operations.waitForConfirmsOrDie(RECEIVE_MS);
            return null;
          });
      Check.equal("messages", ready(queue), sent + 100);
    }
  }

  void confirmsAsynchronous() throws Exception {
    String queue = workspace.queue("confirms");
    List<CorrelationData> correlations = new ArrayList<>();
    for (int i = 0; i < 1000; i++) {
      CorrelationData correlation = new CorrelationData("" + i);
      template.send("", queue, message("async"), correlation);
      correlations.add(correlation);
    }
    for (CorrelationData correlation : correlations) {
      Check.that(
          "confirm " + correlation.getId(),
          correlation.getFuture().get(RECEIVE_MS, TimeUnit.MILLISECONDS).ack());
    }
    Check.equal("messages", ready(queue), 1000L);
  }

  void jacksonConversion() throws Exception {
    Order order = new Order("carrots — \u20ac 2", 12, List.of("fresh", "no leaves"));
    template.convertAndSend(run + ".orders", order);
    ReceivedOrder received = Check.next("order", listeners.orders);
    Check.equal("order", received.order(), order);
    Check.equal("content type", received.contentType(), "application/json");
    Check.equal("type header", received.typeId(), Order.class.getName());

    String queue = workspace.queue("json");
    template.convertAndSend(queue, order);
    Check.equal("receiveAndConvert", template.receiveAndConvert(queue, RECEIVE_MS), order);
  }

  void directContainer() throws Exception {
    template.convertAndSend(run + ".direct", "to the annotated listener");
    Check.equal("text", Check.next("text", listeners.direct), "to the annotated listener");

    String queue = workspace.queue("direct");
    DirectMessageListenerContainer container = new DirectMessageListenerContainer(connections);
    container.setConsumersPerQueue(3);
    containerLifecycle(container, queue, 3);
  }

  void simpleContainer() throws Exception {
    String queue = workspace.queue("simple");
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
    container.setConcurrentConsumers(2);
    containerLifecycle(container, queue, 2);
  }

  /** Starts a container, lets it receive, stops it, and starts it again. */
  private void containerLifecycle(
      AbstractMessageListenerContainer container, String queue, int consumers) throws Exception {
    BlockingQueue<String> inbox = new LinkedBlockingQueue<>();
    container.setQueueNames(queue);
    container.setMessageListener(message -> inbox.add(text(message)));
    workspace.started(container);
    for (int round = 0; round < 2; round++) {
      Check.until("consumers", () -> info(queue).getConsumerCount() == consumers);
      for (int i = 0; i < 50; i++) {
        send(queue, round + "." + i);
      }
      Set<String> texts = new HashSet<>();
      for (int i = 0; i < 50; i++) {
        texts.add(Check.next("message", inbox));
      }
      Check.equal("different messages", texts.size(), 50);
      container.stop();
      Check.until("no consumers", () -> info(queue).getConsumerCount() == 0);
      sendConfirmed("", queue, message("while stopped"));
      Check.equal("messages while stopped", ready(queue), 1L);
      container.start();
      Check.equal("after the start", Check.next("message", inbox), "while stopped");
    }
  }

  void mandatoryReturn() throws Exception {
    String queue = workspace.queue("routable");
    DirectExchange exchange =
        workspace.declared(new DirectExchange(workspace.exchangeName("direct"), false, false));
    admin.declareBinding(
        BindingBuilder.bind(new Queue(queue, false)).to(exchange).with("known"));
    Message lost =
        MessageBuilder.withBody("lost?".getBytes(StandardCharsets.UTF_8))
            .setMessageId("m-1")
            .setHeader("attempt", 1)
            .build();
    // The return comes first, so it is there when the confirm arrives.
    ReturnedMessage returned = sendConfirmed(exchange.getName(), "unknown", lost).getReturned();
    Check.that("returned before the confirm", returned != null);
    Check.equal("reply code", returned.getReplyCode(), AMQP.NO_ROUTE);
    Check.equal("reply text", returned.getReplyText(), "NO_ROUTE");
    Check.equal("exchange", returned.getExchange(), exchange.getName());
    Check.equal("routing key", returned.getRoutingKey(), "unknown");
    Check.equal("message id", returned.getMessage().getMessageProperties().getMessageId(), "m-1");
    Check.equal(
        "header", returned.getMessage().getMessageProperties().getHeaders().get("attempt"), 1);
    Check.equal("body", text(returned.getMessage()), "lost?");

    CorrelationData routed = sendConfirmed(exchange.getName(), "known", message("routed"));
    Check.equal("return of a routed message", routed.getReturned(), null);
    Check.equal("messages", ready(queue), 1L);
  }

  void nackRequeue() throws Exception {
    String queue = run + ".work";
    send(queue, "one");
    Task one = Check.next("one", listeners.work);
    send(queue, "two");
    Task two = Check.next("two", listeners.work);
    send(queue, "three");
    Check.until("three waits", () -> ready(queue) == 1);
    one.requeue();
    Task again = Check.next("one again", listeners.work);
    Check.equal("requeued ahead of three", again.body(), "one");
    Check.equal("first redelivered flag", one.redelivered(), false);
    Check.equal("second redelivered flag", again.redelivered(), true);
    again.ack();
    two.ack();
    Task three = Check.next("three", listeners.work);
    Check.equal("last", three.body(), "three");
    Check.equal("redelivered", three.redelivered(), false);
    three.ack();
    Check.equal("messages", ready(queue), 0L);
  }

  void listenerExceptionRequeues() throws Exception {
    template.convertAndSend(run + ".flaky", "again");
    Check.equal("first", Check.next("first", listeners.flaky), new Attempt("again", false));
    Check.equal("second", Check.next("second", listeners.flaky), new Attempt("again", true));
  }

  void listenerRejectDrops() throws Exception {
    String queue = run + ".dropped";
    List<String> sent = List.of("poison", "one", "two");
    for (String body : sent) {
      template.convertAndSend(queue, body);
      Check.equal("received once, in order", Check.next(body, listeners.dropped), body);
    }
    Check.that("the poison does not come back", listeners.dropped.isEmpty());
    Check.equal("messages", ready(queue), 0L);
  }

  void listenerRetry() throws Exception {
    String queue = run + ".retried";
    template.convertAndSend(queue, "third time lucky");
    Check.until("three attempts", () -> listeners.retried.size() == 3);
    Check.equal(
        "attempts, all with one delivery",
        List.copyOf(listeners.retried),
        List.of(
            new Attempt("third time lucky", false),
            new Attempt("third time lucky", false),
            new Attempt("third time lucky", false)));
    listeners.retried.clear();

    template.convertAndSend(queue, "hopeless");
    Message failed = template.receive(run + ".errors", RECEIVE_MS);
    Check.that("the message went to the error queue", failed != null);
    Check.equal("attempts", listeners.retried.size(), 3);
    Check.equal("body", converter.fromMessage(failed), "hopeless");
    Check.equal(
        "original routing key",
        failed.getMessageProperties().getHeaders()
            .get(RepublishMessageRecoverer.X_ORIGINAL_ROUTING_KEY),
        queue);
    Check.until("acknowledged", () -> ready(queue) == 0);
  }

  void prefetchFairness() throws Exception {
    record Held(String body, long tag, Channel channel) {}

    String queue = workspace.queue("fair");
    List<BlockingQueue<Held>> inboxes = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      BlockingQueue<Held> inbox = new LinkedBlockingQueue<>();
      inboxes.add(inbox);
      SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
      container.setQueueNames(queue);
      container.setPrefetchCount(1);
      container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
      container.setMessageListener(
          (ChannelAwareMessageListener)
              (message, channel) ->
                  inbox.add(
                      new Held(
                          text(message), message.getMessageProperties().getDeliveryTag(), channel)));
      workspace.started(container);
    }
    Check.until("both consume", () -> info(queue).getConsumerCount() == 2);
    for (int i = 0; i < 20; i++) {
      send(queue, "" + i);
    }
    Held slow = Check.next("message for the slow consumer", inboxes.get(0));
    Set<String> bodies = new HashSet<>(List.of(slow.body()));
    for (int i = 0; i < 19; i++) {
      Held fast = Check.next("message for the fast consumer", inboxes.get(1));
      bodies.add(fast.body());
      fast.channel().basicAck(fast.tag(), false);
    }
    Check.equal("different messages", bodies.size(), 20);
    Check.that("the slow consumer has one message only", inboxes.get(0).isEmpty());
    slow.channel().basicAck(slow.tag(), false);
  }

  void exclusiveQueue() throws Exception {
    String name = workspace.queueName("exclusive");
    CachingConnectionFactory owner = workspace.connectionFactory();
    workspace.admin(owner).declareQueue(new Queue(name, false, true, false));
    Refusal locked =
        new Refusal(
            AMQP.RESOURCE_LOCKED,
            String.format(
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost"
                    + " '%s'. It could be originally declared on another connection or the"
                    + " exclusive property value does not match that of the original declaration.",
                name, vhost));
    Check.equal(
        "declare",
        Refusal.when(() -> admin.declareQueue(new Queue(name, false, true, false))),
        locked);
    Check.equal("get", Refusal.when(() -> template.receive(name)), locked);
    owner.destroy();
    Check.until("deleted with its connection", () -> admin.getQueueInfo(name) == null);
  }

  void autoDeleteQueue() throws Exception {
    String name = workspace.queueName("auto_delete");
    admin.declareQueue(new Queue(name, false, false, true));
    Check.that("unused so far, so still there", admin.getQueueInfo(name) != null);
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
    container.setQueueNames(name);
    container.setMessageListener(message -> {});
    workspace.started(container);
    Check.until("consumed", () -> info(name).getConsumerCount() == 1);
    container.stop();
    Check.until("deleted", () -> admin.getQueueInfo(name) == null);
  }

  void redeclareErrors() throws Exception {
    String queue = workspace.queueName("queue");
    String exchange = workspace.exchangeName("exchange");
    String missing = workspace.name("missing");
    admin.declareQueue(new Queue(queue, true));
    admin.declareQueue(new Queue(queue, true));
    admin.declareExchange(new DirectExchange(exchange));
    admin.declareExchange(new DirectExchange(exchange));

    Check.equal(
        "not durable",
        Refusal.when(() -> admin.declareQueue(new Queue(queue, false))),
        inequivalent("durable", "queue", queue, "false", "true"));
    Check.equal(
        "auto-delete",
        Refusal.when(() -> admin.declareQueue(new Queue(queue, true, false, true))),
        inequivalent("auto_delete", "queue", queue, "true", "false"));
    Check.equal(
        "fanout",
        Refusal.when(() -> admin.declareExchange(new FanoutExchange(exchange))),
        inequivalent("type", "exchange", exchange, "fanout", "direct"));
    Check.equal(
        "exchange not durable",
        Refusal.when(() -> admin.declareExchange(new DirectExchange(exchange, false, false))),
        inequivalent("durable", "exchange", exchange, "false", "true"));
    Check.equal(
        "passive queue",
        Refusal.when(() -> template.execute(channel -> channel.queueDeclarePassive(missing))),
        new Refusal(
            AMQP.NOT_FOUND, "NOT_FOUND - no queue '" + missing + "' in vhost '" + vhost + "'"));
    Check.equal("info of a missing queue", admin.getQueueInfo(missing), null);
    Check.equal("still usable", ready(queue), 0L);
  }

  private Refusal inequivalent(
      String argument, String kind, String name, String received, String current) {
    return new Refusal(
        AMQP.PRECONDITION_FAILED,
        String.format(
            "PRECONDITION_FAILED - inequivalent arg '%s' for %s '%s' in vhost '%s': "
                + "received '%s' but current is '%s'",
            argument, kind, name, vhost, received, current));
  }

  void bigBody() throws Exception {
    String queue = workspace.queue("big");
    int frame = 131_072 - 8;
    for (int size : new int[] {0, 1, frame, frame + 1, 10 * MIB}) {
      byte[] body = new byte[size];
      new Random(size).nextBytes(body);
      template.send("", queue, MessageBuilder.withBody(body).build());
      Message received = template.receive(queue, 20_000);
      Check.that("a message of " + size + " bytes", received != null);
      Check.that("equal bodies of " + size + " bytes", Arrays.equals(received.getBody(), body));
    }
  }

  void channels2000() throws Exception {
    String queue = workspace.queue("channels");
    CachingConnectionFactory factory = workspace.connectionFactory();
    factory.setChannelCacheSize(MANY_CHANNELS);
    Connection connection = factory.createConnection();
    List<Channel> channels = new ArrayList<>();
    for (int i = 0; i < MANY_CHANNELS; i++) {
      channels.add(connection.createChannel(false));
    }
    Check.equal(
        "channel numbers",
        channels.stream().map(Channel::getChannelNumber).distinct().count(),
        (long) MANY_CHANNELS);
    for (Channel channel : channels) {
      byte[] number = String.valueOf(channel.getChannelNumber()).getBytes(StandardCharsets.UTF_8);
      channel.basicPublish("", queue, null, number);
    }
    Check.until("every message queued", () -> ready(queue) == MANY_CHANNELS);
    Set<String> bodies = new HashSet<>();
    for (Channel channel : channels) {
      GetResponse response = channel.basicGet(queue, true);
      Check.that("a message for each channel", response != null);
      bodies.add(new String(response.getBody(), StandardCharsets.UTF_8));
    }
    Check.equal("different messages", bodies.size(), MANY_CHANNELS);
  }

  void reconnectAfterRestart() throws Exception {
    // Declared by another admin, so that this application does not declare them again.
    RabbitAdmin other = workspace.admin(workspace.connectionFactory());
    String exchange = workspace.exchangeName("durable");
    List<String> queues = List.of(workspace.queueName("simple"), workspace.queueName("direct"));
    other.declareExchange(new DirectExchange(exchange));
    for (String queue : queues) {
      other.declareQueue(new Queue(queue, true));
      other.declareBinding(
          BindingBuilder.bind(new Queue(queue)).to(new DirectExchange(exchange)).with("key"));
    }
    SimpleMessageListenerContainer simple = new SimpleMessageListenerContainer(connections);
    simple.setRecoveryInterval(200);
    DirectMessageListenerContainer direct = new DirectMessageListenerContainer(connections);
    direct.setMonitorInterval(200);
    direct.setRecoveryInterval(200);
    direct.setFailedDeclarationRetryInterval(200);
    List<BlockingQueue<String>> inboxes = new ArrayList<>();
    for (AbstractMessageListenerContainer container : List.of(simple, direct)) {
      BlockingQueue<String> inbox = new LinkedBlockingQueue<>();
      container.setQueueNames(queues.get(inboxes.size()));
      container.setMessageListener(message -> inbox.add(text(message)));
      workspace.started(container);
      inboxes.add(inbox);
    }
    for (String queue : queues) {
      Check.until("consumed", () -> info(queue).getConsumerCount() == 1);
    }
    BlockingQueue<ShutdownSignalException> closed = closesOf(connections);
    String before = brokerNamed.getActualName();

    broker.call("restart");
    Refusal reason = Refusal.of(Check.next("connection.close", closed));
    Check.equal("close code", reason.code(), AMQP.CONNECTION_FORCED);
    Check.that(reason.text(), reason.text().startsWith("CONNECTION_FORCED"));

    Check.until("connected again", this::reachable);
    for (String queue : queues) {
      Check.until("consumed again", () -> info(queue).getConsumerCount() == 1);
    }
    CorrelationData sent = sendConfirmed(exchange, "key", message("after"));
    Check.equal("return", sent.getReturned(), null);
    for (BlockingQueue<String> inbox : inboxes) {
      Check.equal("message", Check.next("message after the restart", inbox), "after");
    }

    // The admin declares the application's own queues again, and their listeners go on.
    Check.until("hello is consumed", () -> info(run + ".hello").getConsumerCount() == 1);
    template.convertAndSend(run + ".hello", "again");
    Check.equal("hello", Check.next("greeting", listeners.hello), "again");
    Check.until("a new name", () -> !brokerNamed.getActualName().equals(before));
    Check.until(
        "the queue named by the broker is consumed",
        () -> info(brokerNamed.getActualName()).getConsumerCount() == 1);
    template.convertAndSend(logs.getName(), "", "after");
    Check.equal("log", Check.next("log", listeners.brokerNamedLogs), "after");
  }

  private boolean reachable() {
    try {
      return admin.getQueueInfo(run + ".hello") != null;
    } catch (RuntimeException e) {
      return false;
    }
  }

  private static BlockingQueue<ShutdownSignalException> closesOf(CachingConnectionFactory factory) {
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    factory.addConnectionListener(
        new ConnectionListener() {
          @Override
          public void onCreate(Connection connection) {}

          @Override
          public void onShutDown(ShutdownSignalException signal) {
            closed.add(signal);
          }
        });
    return closed;
  }

  void heartbeatTimeout() throws Exception {
    int seconds = 2;
    String queue = workspace.queue("heartbeat");
    CachingConnectionFactory factory = workspace.connectionFactory();
    factory.setRequestedHeartBeat(seconds);
    BlockingQueue<ShutdownSignalException> closed = closesOf(factory);
    Connection connection = factory.createConnection();
    Check.equal(
        "end of an idle connection, while the broker sends heartbeats",
        closed.poll(3 * seconds, TimeUnit.SECONDS),
        null);
    Check.that("open", connection.isOpen());

    workspace.onEnd(
        () -> {
          broker.call("resume");
          return null;
        });
    broker.call("pause");
    ShutdownSignalException signal =
        Check.next("heartbeat timeout", closed, Duration.ofSeconds(15));
    Check.that("missed heartbeats: " + signal, signal.getCause() instanceof MissedHeartbeatException);

    broker.call("resume");
    RabbitTemplate fresh = new RabbitTemplate(factory);
    fresh.send("", queue, message("alive"));
    Message alive = fresh.receive(queue, RECEIVE_MS);
    Check.that("a message over the new connection", alive != null);
    Check.equal("message", text(alive), "alive");
  }
}
