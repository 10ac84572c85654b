package leveret.clients.spring;

import java.util.Locale;
import org.springframework.context.ApplicationContext;

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
  HEARTBEAT_TIMEOUT(Cases::heartbeatTimeout),
  ORDER_TIME_OUT_OF_A_QUEUE(Ladders::orderTimeOutOfAQueue),
  ORDER_TIME_OUT_OF_A_MESSAGE(Ladders::orderTimeOutOfAMessage),
  ORDER_TIME_OUT_BEHIND_A_LONGER_ONE(Ladders::orderTimeOutBehindALongerOne),
  RETRY_THREE_TIMES_THEN_PARK(Ladders::retryThreeTimesThenPark),
  RETRY_UNTIL_THE_DELIVERY_LIMIT(Ladders::retryUntilTheDeliveryLimit),
  DELAYED_EXCHANGE(Ladders::delayedExchange),
  PRIORITIES_UNDER_LOAD(Ladders::prioritiesUnderLoad),
  REJECT_PUBLISH(Ladders::rejectPublish);

  interface Body {
    void run(Cases cases) throws Exception;
  }

  interface Ladder {
    void run(Ladders ladders) throws Exception;
  }

  private interface InContext {
    void run(ApplicationContext context) throws Exception;
  }

  private final boolean isLadder;
  private final InContext body;

  Case(Body body) {
    this.isLadder = false;
    this.body = context -> body.run(context.getBean(Cases.class));
  }

  Case(Ladder ladder) {
    this.isLadder = true;
    this.body = context -> ladder.run(context.getBean(Ladders.class));
  }

  /** Whether the broker is said to have what the case needs. */
  boolean isEnabled() {
    return !isLadder || "1".equals(System.getenv("LADDERS"));
  }

  String title() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  void run(ApplicationContext context) throws Exception {
    body.run(context);
  }

  long limitSeconds() {
    return ordinal() < BODY_10_MIB.ordinal() ? 30 : 90;
  }
}
