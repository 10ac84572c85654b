package leveret.clients;

import java.time.Duration;

/** A named case and how long it may take. */
record Case(String name, Duration limit, Body body) {

  interface Body {
    void run(Scope scope) throws Exception;
  }

  static Case of(String name, Body body) {
    return new Case(name, Duration.ofSeconds(30), body);
  }

  static Case slow(String name, Body body) {
    return new Case(name, Duration.ofSeconds(90), body);
  }
}
