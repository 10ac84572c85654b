package leveret.clients.spring;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.amqp.core.AmqpAdmin;
import org.springframework.amqp.core.Exchange;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.ConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.boot.amqp.autoconfigure.RabbitProperties;
import org.springframework.stereotype.Component;

/** Makes what a case needs, and removes it when the case has ended. */
@Component
class Workspace {
  static final String RUN = "leveret.spring." + ProcessHandle.current().pid();

  private final AmqpAdmin admin;
  private final RabbitProperties properties;
  private final AtomicInteger serial = new AtomicInteger();
  private final Deque<Callable<?>> undo = new ArrayDeque<>();

  Workspace(AmqpAdmin admin, RabbitProperties properties) {
    this.admin = admin;
    this.properties = properties;
  }

  String name(String label) {
    return RUN + "." + serial.incrementAndGet() + "." + label;
  }

  /** A name for a queue that is deleted when the case has ended. */
  String queueName(String label) {
    String name = name(label);
    onEnd(() -> admin.deleteQueue(name));
    return name;
  }

  String exchangeName(String label) {
    String name = name(label);
    onEnd(() -> admin.deleteExchange(name));
    return name;
  }

  /** Declares a queue that lasts until the case has ended. */
  String queue(String label) {
    String name = queueName(label);
    admin.declareQueue(new Queue(name, false));
    return name;
  }

  <E extends Exchange> E declared(E exchange) {
    admin.declareExchange(exchange);
    return exchange;
  }

  /** A connection factory apart from the application's own. */
  CachingConnectionFactory connectionFactory() {
    CachingConnectionFactory factory =
        new CachingConnectionFactory(properties.determineHost(), properties.determinePort());
    factory.setUsername(properties.determineUsername());
    factory.setPassword(properties.determinePassword());
    factory.setVirtualHost(properties.determineVirtualHost());
    onEnd(
        () -> {
          factory.destroy();
          return null;
        });
    return factory;
  }

  RabbitAdmin admin(ConnectionFactory factory) {
    return new RabbitAdmin(factory);
  }

  /** Starts a listener container, which is stopped when the case has ended. */
  <C extends AbstractMessageListenerContainer> C started(C container) {
    container.afterPropertiesSet();
    container.start();
    onEnd(
        () -> {
          container.stop();
          return null;
        });
    return container;
  }

  void onEnd(Callable<?> action) {
    synchronized (undo) {
      undo.push(action);
    }
  }

  void sweep() throws Exception {
    Exception problem = null;
    for (Callable<?> action = next(); action != null; action = next()) {
      try {
        action.call();
      } catch (Exception e) {
        problem = e;
      }
    }
    if (problem != null) {
      throw problem;
    }
  }

  private Callable<?> next() {
    synchronized (undo) {
      return undo.poll();
    }
  }
}
