package leveret.clients.spring;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Method;
import com.rabbitmq.client.ShutdownSignalException;
import org.springframework.amqp.AmqpException;

/** What the broker closed a channel or a connection with. */
record Refusal(int code, String text) {

  interface Operation {
    void run() throws Exception;
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

  /** Runs what the broker must refuse. */
  static Refusal when(Operation operation) throws Exception {
    try {
      operation.run();
    } catch (AmqpException e) {
      for (Throwable cause = e; cause != null; cause = cause.getCause()) {
        if (cause instanceof ShutdownSignalException signal) {
          return of(signal);
        }
      }
      throw e;
    }
    throw new AssertionError("the broker accepted what it must refuse");
  }
}
