package leveret.clients.spring;

import java.io.IOException;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.stereotype.Component;

/** Restarts, pauses and resumes the broker. */
@Component
class BrokerControl {
  private final String program;

  BrokerControl(@Value("${BROKER_CTL}") String program) {
    this.program = program;
  }

  void call(String command) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(program, command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    int status = process.waitFor();
    if (status != 0) {
      throw new IOException("BROKER_CTL " + command + " ended with status " + status);
    }
  }
}
