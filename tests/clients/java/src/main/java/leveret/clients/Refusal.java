package leveret.clients;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Method;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** What the broker closes a channel or a connection with. */
record Refusal(int code, String text) {

  interface Operation {
    void on(Channel channel) throws Exception;
  }

  static Refusal of(ShutdownSignalException signal) {
    Method reason = signal.getReason();
    if (reason instanceof AMQP.Channel.Close close) {
      return new Refusal(close.getReplyCode(), close.getReplyText());
    }
    if (reason instanceof AMQP.Connection.Close close) {
      return new Refusal(close.getReplyCode(), close.getReplyText());
    }
    throw new AssertionError("closed without a reason from the broker", signal);
  }

  /** Runs an operation that the broker must refuse, on a fresh channel. */
  static Refusal when(Connection connection, Operation operation) throws Exception {
    Channel channel = connection.createChannel();
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    channel.addShutdownListener(closed::add);
    try {
      operation.on(channel);
    } catch (IOException e) {
      if (!(e.getCause() instanceof ShutdownSignalException)) {
        throw e;
      }
    }
    Refusal refusal = of(Check.next("the refusal", closed));
    Check.that("the connection stays open", connection.isOpen());
    return refusal;
  }

  static Refusal inequivalent(
      String argument, String kind, String name, String received, String current) {
    return new Refusal(
        AMQP.PRECONDITION_FAILED,
        String.format(
            "PRECONDITION_FAILED - inequivalent arg '%s' for %s '%s' in vhost '%s': "
                + "received %s but current is %s",
            argument, kind, name, Broker.VHOST, received, current));
  }

  static Refusal notFound(String kind, String name) {
    return new Refusal(
        AMQP.NOT_FOUND,
        String.format("NOT_FOUND - no %s '%s' in vhost '%s'", kind, name, Broker.VHOST));
  }

  static Refusal locked(String queue) {
    return new Refusal(
        AMQP.RESOURCE_LOCKED,
        String.format(
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '%s'."
                + " It could be originally declared on another connection or the exclusive"
                + " property value does not match that of the original declaration.",
            queue, Broker.VHOST));
  }
}
