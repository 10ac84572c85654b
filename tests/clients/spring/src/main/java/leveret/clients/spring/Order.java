package leveret.clients.spring;

import java.util.List;

/** A message body that is converted to JSON and back. */
record Order(String item, int quantity, List<String> remarks) {}
