package leveret.clients.spring;

import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Assertions, and waiting with a deadline. */
final class Check {
  static final Duration DEADLINE = Duration.ofSeconds(10);

  private Check() {}

  static void that(String what, boolean holds) {
    if (!holds) {
      throw new AssertionError("not so: " + what);
    }
  }

  static void equal(String what, Object actual, Object expected) {
    if (!Objects.equals(actual, expected)) {
      throw new AssertionError(what + ": got " + actual + ", want " + expected);
    }
  }

  /** Takes the next item, which must come before the deadline. */
  static <T> T next(String what, BlockingQueue<T> queue) throws InterruptedException {
    return next(what, queue, DEADLINE);
  }

  static <T> T next(String what, BlockingQueue<T> queue, Duration deadline)
      throws InterruptedException {
    T item = queue.poll(deadline.toMillis(), TimeUnit.MILLISECONDS);
    if (item == null) {
      throw new AssertionError(what + ": nothing within " + deadline);
    }
    return item;
  }

  /** Asks again and again until the answer is yes. */
  static void until(String what, Callable<Boolean> probe) throws Exception {
    long end = System.nanoTime() + DEADLINE.toNanos();
    while (!probe.call()) {
      if (System.nanoTime() > end) {
        throw new AssertionError(what + ": not so within " + DEADLINE);
      }
      Thread.sleep(20);
    }
  }
}
