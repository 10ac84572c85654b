package leveret.clients;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/** What one case opens and declares; all of it is removed when the case ends. */
final class Scope {
  private static final AtomicInteger SERIAL = new AtomicInteger();
  private static final int CLOSE_TIMEOUT_MS = 5000;

  private final List<Connection> connections = new CopyOnWriteArrayList<>();
  private final List<String> queues = new CopyOnWriteArrayList<>();
  private final List<String> exchanges = new CopyOnWriteArrayList<>();
  private final List<Callable<Void>> undo = new CopyOnWriteArrayList<>();

  String name(String label) {
    long pid = ProcessHandle.current().pid();
    return "leveret.java." + pid + "." + SERIAL.incrementAndGet() + "." + label;
  }

  String queueName(String label) {
    String name = name(label);
    queues.add(name);
    return name;
  }

  String exchangeName(String label) {
    String name = name(label);
    exchanges.add(name);
    return name;
  }

  /** Registers something to be done when the case ends, whatever its outcome. */
  void onEnd(Callable<Void> action) {
    undo.add(action);
  }

  Connection connect() throws Exception {
    return connect(Broker.factory());
  }

  Connection connect(ConnectionFactory factory) throws Exception {
    Connection connection = factory.newConnection();
    connections.add(connection);
    return connection;
  }

  void end() throws Exception {
    for (Callable<Void> action : undo) {
      action.call();
    }
    for (Connection connection : connections) {
      connection.abort(CLOSE_TIMEOUT_MS);
    }
    if (queues.isEmpty() && exchanges.isEmpty()) {
      return;
    }
    try (Connection connection = Broker.factory().newConnection();
        Channel channel = connection.createChannel()) {
      for (String queue : queues) {
        channel.queueDelete(queue);
      }
      for (String exchange : exchanges) {
        channel.exchangeDelete(exchange);
      }
    }
  }
}
