package leveret.clients.spring;

import java.util.Locale;

/** The cases, in the order in which they run. */
enum Case {
  TUTORIAL_1_HELLO_WORLD(Cases::helloWorld),
  TUTORIAL_2_WORK_QUEUES(Cases::workQueues),
  TUTORIAL_3_PUBLISH_SUBSCRIBE(Cases::publishSubscribe),
  TUTORIAL_4_ROUTING(Cases::routing),
  TUTORIAL_5_TOPICS(Cases::topics),
  TUTORIAL_6_RPC(Cases::rpc),
  TUTORIAL_7_CONFIRMS_ONE_BY_ONE(Cases::confirmsOneByOne),
  TUTORIAL_7_CONFIRMS_BATCH(Cases::confirmsBatch),
  TUTORIAL_7_CONFIRMS_ASYNCHRONOUS(Cases::confirmsAsynchronous),
  JACKSON_CONVERSION(Cases::jacksonConversion),
  DIRECT_MESSAGE_LISTENER_CONTAINER(Cases::directContainer),
  SIMPLE_MESSAGE_LISTENER_CONTAINER(Cases::simpleContainer),
  MANDATORY_RETURN(Cases::mandatoryReturn),
  NACK_REQUEUE(Cases::nackRequeue),
  LISTENER_EXCEPTION_REQUEUES(Cases::listenerExceptionRequeues),
  LISTENER_REJECT_DROPS(Cases::listenerRejectDrops),
  LISTENER_RETRY(Cases::listenerRetry),
  PREFETCH_FAIRNESS(Cases::prefetchFairness),
  EXCLUSIVE_QUEUE(Cases::exclusiveQueue),
  AUTO_DELETE_QUEUE(Cases::autoDeleteQueue),
  REDECLARE_ERRORS(Cases::redeclareErrors),
  BODY_10_MIB(Cases::bigBody),
  CHANNELS_2000(Cases::channels2000),
  RECONNECT_AFTER_RESTART(Cases::reconnectAfterRestart),
  HEARTBEAT_TIMEOUT(Cases::heartbeatTimeout);

  interface Body {
    void run(Cases cases) throws Exception;
  }

  private final Body body;

  Case(Body body) {
    this.body = body;
  }

  String title() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  Body body() {
    return body;
  }

  long limitSeconds() {
    return ordinal() < BODY_10_MIB.ordinal() ? 30 : 90;
  }
}
