package leveret.clients;

import com.rabbitmq.client.impl.ClientVersion;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs the cases and reports each as {@code ok} or {@code not ok}. */
public final class Main {
  private static final Duration CLEAN_UP_LIMIT = Duration.ofSeconds(30);

  private Main() {}

  public static void main(String[] args) {
    List<String> only = Arrays.asList(args);
    System.out.println("client amqp-client " + ClientVersion.VERSION);
    int failed = 0;
    for (Case testCase : Cases.ALL) {
      if (!only.isEmpty() && !only.contains(testCase.name())) {
        continue;
      }
      String failure = run(testCase);
      if (failure == null) {
        System.out.println("ok " + testCase.name());
      } else {
        failed++;
        System.out.println(
            "not ok " + testCase.name() + " - " + failure.replaceAll("\\s+", " ").strip());
      }
    }
    System.exit(failed == 0 ? 0 : 1);
  }

  private static String run(Case testCase) {
    Scope scope = new Scope();
    Callable<Void> body =
        () -> {
          testCase.body().run(scope);
          return null;
        };
    Callable<Void> end =
        () -> {
          scope.end();
          return null;
        };
    String failure = bounded("case", testCase.limit(), body);
    String cleanUp = bounded("clean-up", CLEAN_UP_LIMIT, end);
    return failure != null ? failure : cleanUp;
  }

  /** Runs the action on a thread of its own; returns why it failed, or null. */
  private static String bounded(String what, Duration limit, Callable<Void> action) {
    FutureTask<Void> task = new FutureTask<>(action);
    Thread thread = new Thread(task, what);
    thread.setDaemon(true);
    thread.start();
    try {
      task.get(limit.toMillis(), TimeUnit.MILLISECONDS);
      return null;
    } catch (ExecutionException e) {
      e.getCause().printStackTrace();
      return reason(e.getCause());
    } catch (TimeoutException e) {
      task.cancel(true);
      return what + " not finished within " + limit;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return what + " was interrupted";
    }
  }

  private static String reason(Throwable failure) {
    Throwable cause = failure;
    while (cause.getMessage() == null && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause.getMessage() == null ? cause.toString() : cause.getMessage();
  }
}
