package leveret.clients;

import com.rabbitmq.client.ConnectionFactory;
import java.io.IOException;

/** The broker under test, as the environment describes it. */
final class Broker {
  static final String VHOST = env("AMQP_VHOST");

  private Broker() {}

  /** A factory without automatic recovery, which only one case wants. */
  static ConnectionFactory factory() {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setHost(env("AMQP_HOST"));
    factory.setPort(Integer.parseInt(env("AMQP_PORT")));
    factory.setUsername(env("AMQP_USER"));
    factory.setPassword(env("AMQP_PASS"));
    factory.setVirtualHost(VHOST);
    factory.setAutomaticRecoveryEnabled(false);
    return factory;
  }

  static void control(String command) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(env("BROKER_CTL"), command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    int status = process.waitFor();
    if (status != 0) {
      throw new IOException("BROKER_CTL " + command + " ended with status " + status);
    }
  }

  private static String env(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException(name + " is not set");
    }
    return value;
  }
}
