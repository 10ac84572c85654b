package leveret.clients.spring;

import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.ConfigurableApplicationContext;

/** Starts the application and runs the cases in it. */
@SpringBootApplication
public class Application {
  private static final long CLEAN_UP_LIMIT_SECONDS = 30;

  public static void main(String[] args) {
    List<String> only = List.of(args);
    System.out.println(
        "client spring-rabbit " + RabbitTemplate.class.getPackage().getImplementationVersion());
    ConfigurableApplicationContext[] context = new ConfigurableApplicationContext[1];
    String noStart =
        bounded(
            "start of the application",
            CLEAN_UP_LIMIT_SECONDS,
            () -> {
              SpringApplication application = new SpringApplication(Application.class);
              application.setDefaultProperties(Map.of("run", Workspace.RUN));
              context[0] = application.run();
              return null;
            });

    int failed = 0;
    for (Case testCase : Case.values()) {
      if (!testCase.isEnabled() || !only.isEmpty() && !only.contains(testCase.title())) {
        continue;
      }
      String failure = noStart != null ? noStart : run(context[0], testCase);
      if (failure == null) {
        System.out.println("ok " + testCase.title());
      } else {
        failed++;
        System.out.println(
            "not ok " + testCase.title() + " - " + failure.replaceAll("\\s+", " ").strip());
      }
    }
    if (context[0] != null) {
      String notClosed =
          bounded(
              "end of the application",
              CLEAN_UP_LIMIT_SECONDS,
              () -> {
                context[0].close();
                return null;
              });
      if (notClosed != null) {
        System.err.println(notClosed);
      }
    }
    System.exit(failed == 0 ? 0 : 1);
  }

  private static String run(ConfigurableApplicationContext context, Case testCase) {
    Workspace workspace = context.getBean(Workspace.class);
    String failure =
        bounded(
            "case",
            testCase.limitSeconds(),
            () -> {
              testCase.run(context);
              return null;
            });
    String cleanUp =
        bounded(
            "clean-up",
            CLEAN_UP_LIMIT_SECONDS,
            () -> {
              workspace.sweep();
              return null;
            });
    return failure != null ? failure : cleanUp;
  }

  /** Runs the action on a thread of its own; returns why it failed, or null. */
  private static String bounded(String what, long limitSeconds, Callable<Void> action) {
    FutureTask<Void> task = new FutureTask<>(action);
    Thread thread = new Thread(task, what);
    thread.setDaemon(true);
    thread.start();
    try {
      task.get(limitSeconds, TimeUnit.SECONDS);
      return null;
    } catch (ExecutionException e) {
      e.getCause().printStackTrace();
      return e.getCause().toString();
    } catch (TimeoutException e) {
      task.cancel(true);
      return what + " not finished within " + limitSeconds + " s";
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return what + " was interrupted";
    }
  }
}
