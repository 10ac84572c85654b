package leveret.clients.spring;

import static leveret.clients.spring.Cases.text;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.core.AmqpAdmin;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.core.MessageListener;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.stereotype.Component;

/** What people build from time-outs, limits, dead letters, delays and priorities. */
@Component
class Ladders {
  private final Workspace workspace;
  private final RabbitTemplate template;
  private final AmqpAdmin admin;
  private final CachingConnectionFactory connections;

  Ladders(
      Workspace workspace,
      RabbitTemplate template,
      AmqpAdmin admin,
      CachingConnectionFactory connections) {
    this.workspace = workspace;
    this.template = template;
    this.admin = admin;
    this.connections = connections;
  }

  private static MessageBuilder message(String body) {
    return MessageBuilder.withBody(body.getBytes(StandardCharsets.UTF_8));
  }

  /** A queue whose dead letters go straight to another queue. */
  private static QueueBuilder deadLettersTo(String deadLetters, String name) {
    return QueueBuilder.nonDurable(name).deadLetterExchange("").deadLetterRoutingKey(deadLetters);
  }

  private long ready(String queue) {
    return admin.getQueueInfo(queue).getMessageCount();
  }

  private CorrelationData.Confirm confirmOf(String exchange, String key, Message message)
      throws Exception {
    CorrelationData correlation = new CorrelationData();
    template.send(exchange, key, message, correlation);
    return correlation.getFuture().get(Check.DEADLINE.toMillis(), TimeUnit.MILLISECONDS);
  }

  private void sendConfirmed(String exchange, String key, Message message) throws Exception {
    Check.that("acked", confirmOf(exchange, key, message).ack());
  }

  private Message receive(String queue) {
    Message message = template.receive(queue, Check.DEADLINE.toMillis());
    Check.that("a message in " + queue, message != null);
    return message;
  }

  /** Consumes with a prefetch of 1. */
  private void consume(String queue, MessageListener listener) {
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
    container.setQueueNames(queue);
    container.setPrefetchCount(1);
    container.setMessageListener(listener);
    workspace.started(container);
  }

  /** How often the message died of this reason in this queue. */
  private static long deaths(Message message, String queue, String reason) {
    List<Map<String, ?>> entries = message.getMessageProperties().getXDeathHeader();
    long sum = 0;
    for (Map<String, ?> entry : entries == null ? List.<Map<String, ?>>of() : entries) {
      if (entry.get("queue").equals(queue) && entry.get("reason").equals(reason)) {
        sum += (long) entry.get("count");
      }
    }
    return sum;
  }

  private static void checkTimedOut(Message letter, String queue, String expiration) {
    List<Map<String, ?>> entries = letter.getMessageProperties().getXDeathHeader();
    Check.equal("deaths", entries.size(), 1);
    Map<String, ?> death = entries.get(0);
    Check.equal("reason", death.get("reason"), "expired");
    Check.equal("queue", death.get("queue"), queue);
    Check.equal("exchange", death.get("exchange"), "");
    Check.equal("routing keys", death.get("routing-keys"), List.of(queue));
    Check.equal("count", death.get("count"), 1L);
    Check.that("a time", death.get("time") instanceof java.util.Date);
    Check.equal("original expiration", death.get("original-expiration"), expiration);
    Check.equal("expiration", letter.getMessageProperties().getExpiration(), null);
  }

  private static void checkElapsed(long start, long milliseconds) {
    Duration elapsed = Duration.ofNanos(System.nanoTime() - start);
    Check.that("not before its time: " + elapsed, elapsed.toMillis() >= milliseconds);
  }

  void orderTimeOutOfAQueue() throws Exception {
    String cancelled = workspace.queue("cancelled");
    String unpaid = workspace.queueName("unpaid");
    admin.declareQueue(deadLettersTo(cancelled, unpaid).ttl(300).build());
    long start = System.nanoTime();
    for (String order : List.of("0", "1", "2")) {
      sendConfirmed("", unpaid, message(order).build());
    }
    Check.equal("the order that is paid in time", text(receive(unpaid)), "0");
    for (String order : List.of("1", "2")) {
      Message letter = receive(cancelled);
      Check.equal("order", text(letter), order);
      Check.equal("exchange", letter.getMessageProperties().getReceivedExchange(), "");
      Check.equal("key", letter.getMessageProperties().getReceivedRoutingKey(), cancelled);
      checkTimedOut(letter, unpaid, null);
    }
    checkElapsed(start, 300);
    Check.equal("orders left", ready(unpaid), 0L);
  }

  void orderTimeOutOfAMessage() {
    String cancelled = workspace.queue("cancelled");
    String unpaid = workspace.queueName("unpaid");
    admin.declareQueue(deadLettersTo(cancelled, unpaid).build());
    long start = System.nanoTime();
    template.send("", unpaid, message("order").setExpiration("300").setMessageId("m-1").build());
    Message letter = receive(cancelled);
    checkElapsed(start, 300);
    Check.equal("order", text(letter), "order");
    Check.equal("message id", letter.getMessageProperties().getMessageId(), "m-1");
    Check.equal(
        "delivery mode",
        letter.getMessageProperties().getReceivedDeliveryMode(),
        MessageDeliveryMode.PERSISTENT);
    checkTimedOut(letter, unpaid, "300");
  }

  /** RabbitMQ keeps the second message until the first is gone. */
  void orderTimeOutBehindALongerOne() {
    String cancelled = workspace.queue("cancelled");
    String unpaid = workspace.queueName("unpaid");
    admin.declareQueue(deadLettersTo(cancelled, unpaid).build());
    for (String expiration : List.of("60000", "400", "100")) {
      template.send("", unpaid, message(expiration).setExpiration(expiration).build());
    }
    Check.equal("first", text(receive(cancelled)), "100");
    Check.equal("second", text(receive(cancelled)), "400");
    Check.equal("orders left", ready(unpaid), 1L);
  }

  void retryThreeTimesThenPark() throws Exception {
    String parked = workspace.queue("parked");
    String work = workspace.queueName("work");
    String waiting = workspace.queueName("waiting");
    admin.declareQueue(deadLettersTo(waiting, work).build());
    admin.declareQueue(deadLettersTo(work, waiting).ttl(50).build());
    List<Long> hopeless = new CopyOnWriteArrayList<>();
    List<Long> needsTwo = new CopyOnWriteArrayList<>();
    consume(
        work,
        message -> {
          boolean isHopeless = text(message).equals("hopeless");
          long before = deaths(message, work, "rejected");
          (isHopeless ? hopeless : needsTwo).add(before);
          if (before == 3) {
            template.send("", parked, message);
          } else if (isHopeless || before < 1) {
            throw new AmqpRejectAndDontRequeueException("attempt " + before + " fails");
          }
        });
    template.send("", work, message("hopeless").build());
    template.send("", work, message("needs two").build());
    Message letter = receive(parked);
    Check.equal("parked", text(letter), "hopeless");
    Check.equal("deaths that the listener has read", hopeless, List.of(0L, 1L, 2L, 3L));
    Check.until("the second attempt", () -> needsTwo.equals(List.of(0L, 1L)));
    Check.equal("times that it has waited", deaths(letter, waiting, "expired"), 3L);
    Map<String, ?> newest = letter.getMessageProperties().getXDeathHeader().get(0);
    Check.equal("newest death", newest.get("queue"), waiting);
    Check.equal("messages left", ready(work) + ready(waiting), 0L);
  }

  void retryUntilTheDeliveryLimit() {
    String parked = workspace.queue("parked");
    String work = workspace.queueName("work");
    QueueBuilder limited = QueueBuilder.durable(work).quorum().deliveryLimit(3);
    admin.declareQueue(limited.deadLetterExchange("").deadLetterRoutingKey(parked).build());
    List<Object> counts = new CopyOnWriteArrayList<>();
    consume(
        work,
        message -> {
          Object count = message.getMessageProperties().getHeaders().get("x-delivery-count");
          counts.add(count == null ? 0L : count);
          throw new IllegalStateException("always fails");
        });
    template.send("", work, message("poison").build());
    Message letter = receive(parked);
    Check.equal("parked", text(letter), "poison");
    Check.equal("x-delivery-count", counts, List.of(0L, 1L, 2L, 3L));
    Check.equal("deaths", deaths(letter, work, "delivery_limit"), 1L);
  }

  void delayedExchange() throws Exception {
    TopicExchange exchange =
        new TopicExchange(workspace.exchangeName("delayed"), false, false);
    exchange.setDelayed(true);
    admin.declareExchange(exchange);
    String queue = workspace.queue("reminders");
    admin.declareBinding(
        new Binding(queue, Binding.DestinationType.QUEUE, exchange.getName(), "reminder.*", null));
    // The template's messages are mandatory, which is nothing for what is routed later.
    RabbitTemplate later = new RabbitTemplate(connections);
    long start = System.nanoTime();
    for (long delay : new long[] {600, 200, 400}) {
      Message message = message("" + delay).build();
      message.getMessageProperties().setDelayLong(delay);
      CorrelationData correlation = new CorrelationData();
      later.send(exchange.getName(), "reminder." + delay, message, correlation);
      Check.that(
          "confirmed now, delivered later",
          correlation.getFuture().get(Check.DEADLINE.toMillis(), TimeUnit.MILLISECONDS).ack());
    }
    later.send(exchange.getName(), "reminder.now", message("now").build());
    Message first = receive(queue);
    Check.equal("without delay", text(first), "now");
    Check.equal("delay", first.getMessageProperties().getReceivedDelayLong(), null);
    for (long delay : new long[] {200, 400, 600}) {
      Message message = receive(queue);
      checkElapsed(start, delay);
      Check.equal("reminder", text(message), "" + delay);
      // Spring shows it without its sign.
      Check.equal("x-delay", Math.abs(message.getMessageProperties().getReceivedDelayLong()), delay);
    }
  }

  void prioritiesUnderLoad() throws Exception {
    record Ranked(int priority, String body) {}

    String queue = workspace.queueName("ranked");
    admin.declareQueue(QueueBuilder.nonDurable(queue).maxPriority(10).build());
    List<Ranked> backlog = new ArrayList<>();
    for (int i = 0; i < 300; i++) {
      backlog.add(new Ranked(i * 7 % 10, "" + i));
    }
    // All on one channel, so that they stay in order.
    template.invoke(
        operations -> {
          for (Ranked ranked : backlog) {
            Message message = message(ranked.body()).setPriority(ranked.priority()).build();
            operations.send("", queue, message);
          }
          return null;
        });
    Check.until("all are there", () -> ready(queue) == 300);

    BlockingQueue<Ranked> inbox = new LinkedBlockingQueue<>();
    consume(
        queue, message -> inbox.add(new Ranked(message.getMessageProperties().getPriority(), text(message))));
    Check.until("a part of the backlog", () -> inbox.size() >= 50);
    sendConfirmed("", queue, message("urgent").setPriority(10).build());
    int before = inbox.size();
    List<Ranked> received = new ArrayList<>();
    for (int i = 0; i <= 300; i++) {
      received.add(Check.next("message " + i, inbox));
    }
    int at = received.indexOf(new Ranked(10, "urgent"));
    // The container takes one more from the broker while the listener works on one.
    Check.that("urgent was number " + at + " of " + before, at >= 0 && at <= before + 2);
    received.remove(at);
    backlog.sort(Comparator.comparingInt(Ranked::priority).reversed());
    for (int i = 0; i < backlog.size(); i++) {
      Check.equal("high priorities first, then by age: number " + i, received.get(i), backlog.get(i));
    }
  }

  void rejectPublish() throws Exception {
    String queue = workspace.queueName("full");
    QueueBuilder full = QueueBuilder.nonDurable(queue).maxLength(2L);
    admin.declareQueue(full.overflow(QueueBuilder.Overflow.rejectPublish).build());
    for (String body : List.of("one", "two")) {
      sendConfirmed("", queue, message(body).build());
    }
    for (int i = 0; i < 2; i++) {
      Check.that("nacked", !confirmOf("", queue, message("refused").build()).ack());
    }
    Check.equal("oldest message", text(receive(queue)), "one");
    sendConfirmed("", queue, message("three").build());
    Check.equal("second message", text(receive(queue)), "two");
    Check.equal("third message", text(receive(queue)), "three");
    Check.equal("messages left", ready(queue), 0L);
  }
}
