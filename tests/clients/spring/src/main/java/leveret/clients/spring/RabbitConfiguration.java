package leveret.clients.spring;

import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.AmqpAdmin;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.Declarables;
import org.springframework.amqp.core.FanoutExchange;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.config.DirectRabbitListenerContainerFactory;
import org.springframework.amqp.rabbit.config.SimpleRabbitListenerContainerFactory;
import org.springframework.amqp.rabbit.connection.ConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.retry.MessageRecoverer;
import org.springframework.amqp.rabbit.retry.RepublishMessageRecoverer;
import org.springframework.amqp.support.converter.JacksonJsonMessageConverter;
import org.springframework.amqp.support.converter.MessageConverter;
import org.springframework.beans.factory.DisposableBean;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.amqp.autoconfigure.DirectRabbitListenerContainerFactoryConfigurer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** What the application declares, and how its listeners are run. */
@Configuration
class RabbitConfiguration {
  private final String run;

  RabbitConfiguration(@Value("${run}") String run) {
    this.run = run;
  }

  @Bean
  Declarables queues() {
    return new Declarables(
        new Queue(run + ".hello", false),
        new Queue(run + ".direct", false),
        new Queue(run + ".work", true),
        new Queue(run + ".orders", false),
        new Queue(run + ".rpc", false),
        new Queue(run + ".flaky", false),
        new Queue(run + ".dropped", false),
        new Queue(run + ".retried", false),
        new Queue(run + ".errors", false),
        new Queue(run + ".replies", false));
  }

  @Bean
  FanoutExchange logs() {
    return new FanoutExchange(run + ".logs", false, true);
  }

  /** A queue whose name the broker chooses. */
  @Bean
  Queue brokerNamed() {
    return new Queue("", false, true, true);
  }

  @Bean
  Binding brokerNamedToLogs(Queue brokerNamed, FanoutExchange logs) {
    return BindingBuilder.bind(brokerNamed).to(logs);
  }

  /** Deletes the declared queues at the end, when the listeners have stopped. */
  @Bean
  DisposableBean deleteQueues(AmqpAdmin admin, Declarables queues) {
    return () -> queues.getDeclarablesByType(Queue.class).forEach(q -> admin.deleteQueue(q.getName()));
  }

  @Bean
  MessageConverter jsonConverter() {
    return new JacksonJsonMessageConverter(Order.class.getPackageName());
  }

  /** Where a message goes whose retries in the default container have been used up. */
  @Bean
  MessageRecoverer recoverer(RabbitTemplate template) {
    return new RepublishMessageRecoverer(template, "", run + ".errors");
  }

  @Bean
  DirectRabbitListenerContainerFactory directContainers(
      DirectRabbitListenerContainerFactoryConfigurer configurer, ConnectionFactory connections) {
    DirectRabbitListenerContainerFactory factory = new DirectRabbitListenerContainerFactory();
    configurer.configure(factory, connections);
    factory.setMonitorInterval(200);
    factory.setRecoveryInterval(200L);
    factory.setFailedDeclarationRetryInterval(200L);
    return factory;
  }

  /** Two consumers, one message at a time, acknowledged by the listener. */
  @Bean
  SimpleRabbitListenerContainerFactory manualContainers(ConnectionFactory connections) {
    SimpleRabbitListenerContainerFactory factory = new SimpleRabbitListenerContainerFactory();
    factory.setConnectionFactory(connections);
    factory.setAcknowledgeMode(AcknowledgeMode.MANUAL);
    factory.setConcurrentConsumers(2);
    factory.setPrefetchCount(1);
    factory.setRecoveryInterval(200L);
    return factory;
  }
}
