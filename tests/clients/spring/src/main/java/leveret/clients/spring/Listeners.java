package leveret.clients.spring;

import com.rabbitmq.client.Channel;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.core.ExchangeTypes;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.rabbit.annotation.Exchange;
import org.springframework.amqp.rabbit.annotation.Queue;
import org.springframework.amqp.rabbit.annotation.QueueBinding;
import org.springframework.amqp.rabbit.annotation.RabbitListener;
import org.springframework.amqp.support.AmqpHeaders;
import org.springframework.messaging.handler.annotation.Header;
import org.springframework.stereotype.Component;

/** The application's listeners. What they receive is kept for the cases. */
@Component
class Listeners {

  /** A message that the case that takes it has to acknowledge. */
  record Task(String body, MessageDeliveryMode mode, boolean redelivered, long tag, Channel channel) {
    void ack() throws IOException {
      channel.basicAck(tag, false);
    }

    void requeue() throws IOException {
      channel.basicNack(tag, false, true);
    }
  }

  record ReceivedOrder(Order order, String contentType, String typeId) {}

  record Attempt(String body, boolean redelivered) {}

  final BlockingQueue<String> hello = new LinkedBlockingQueue<>();
  final BlockingQueue<String> direct = new LinkedBlockingQueue<>();
  final BlockingQueue<Task> work = new LinkedBlockingQueue<>();
  final BlockingQueue<String> anonymousLogs = new LinkedBlockingQueue<>();
  final BlockingQueue<String> brokerNamedLogs = new LinkedBlockingQueue<>();
  final BlockingQueue<ReceivedOrder> orders = new LinkedBlockingQueue<>();
  final BlockingQueue<Attempt> flaky = new LinkedBlockingQueue<>();
  final BlockingQueue<String> dropped = new LinkedBlockingQueue<>();
  final BlockingQueue<Attempt> retried = new LinkedBlockingQueue<>();
  final List<String> replyAddresses = new CopyOnWriteArrayList<>();

  @RabbitListener(queues = "${run}.hello")
  void hello(String greeting) {
    hello.add(greeting);
  }

  @RabbitListener(queues = "${run}.direct", containerFactory = "directContainers")
  void direct(String text) {
    direct.add(text);
  }

  @RabbitListener(queues = "${run}.work", containerFactory = "manualContainers")
  void work(Message message, Channel channel, @Header(AmqpHeaders.DELIVERY_TAG) long tag) {
    work.add(
        new Task(
            new String(message.getBody(), StandardCharsets.UTF_8),
            message.getMessageProperties().getReceivedDeliveryMode(),
            Boolean.TRUE.equals(message.getMessageProperties().getRedelivered()),
            tag,
            channel));
  }

  @RabbitListener(
      bindings =
          @QueueBinding(
              value = @Queue,
              exchange =
                  @Exchange(
                      value = "${run}.logs",
                      type = ExchangeTypes.FANOUT,
                      durable = "false",
                      autoDelete = "true")))
  void anonymousLogs(String log) {
    anonymousLogs.add(log);
  }

  @RabbitListener(queues = "#{brokerNamed}", containerFactory = "directContainers")
  void brokerNamedLogs(String log) {
    brokerNamedLogs.add(log);
  }

  @RabbitListener(queues = "${run}.orders")
  void orders(
      Order order,
      @Header(AmqpHeaders.CONTENT_TYPE) String contentType,
      @Header("__TypeId__") String typeId) {
    orders.add(new ReceivedOrder(order, contentType, typeId));
  }

  @RabbitListener(queues = "${run}.rpc")
  long fibonacci(int n, @Header(AmqpHeaders.REPLY_TO) String replyTo) {
    replyAddresses.add(replyTo);
    return fibonacci(n);
  }

  static long fibonacci(int n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
  }

  /** Fails at the first delivery, which requeues the message. */
  @RabbitListener(queues = "${run}.flaky", containerFactory = "directContainers")
  void flaky(String body, @Header(AmqpHeaders.REDELIVERED) boolean redelivered) {
    flaky.add(new Attempt(body, redelivered));
    if (!redelivered) {
      throw new IllegalStateException("the first delivery fails");
    }
  }

  @RabbitListener(queues = "${run}.dropped", containerFactory = "directContainers")
  void dropped(String body) {
    dropped.add(body);
    if (body.equals("poison")) {
      throw new AmqpRejectAndDontRequeueException("not wanted");
    }
  }

  /** Runs in the default container, which retries before it gives up. */
  @RabbitListener(queues = "${run}.retried")
  void retried(String body, @Header(AmqpHeaders.REDELIVERED) boolean redelivered) {
    retried.add(new Attempt(body, redelivered));
    if (body.equals("hopeless") || retried.size() < 3) {
      throw new IllegalStateException("attempt " + retried.size() + " fails");
    }
  }
}
