<?php

/* The cases for php-amqplib. */

declare(strict_types=1);

require __DIR__ . '/harness.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPHeartbeatMissedException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Package;

function helloWorld(Scratch $s): void
{
    $channel = $s->channel();
    $queue = $s->queue($channel);
    publish($channel, '', $queue, 'Hello World!');
    $received = [];
    consume($channel, $queue, function (AMQPMessage $message) use (&$received) {
        $received[] = $message->getBody();
    }, no_ack: true);
    $channel->wait(null, false, DEADLINE);
    expect($received, ['Hello World!'], 'received');
}

function workQueues(Scratch $s): void
{
    $channel = $s->channel();
    $queue = $s->queue($channel, durable: true);
    $tasks = array_map(fn ($i) => "task $i", range(0, 5));
    foreach ($tasks as $task) {
        publish($channel, '', $queue, $task, ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT]);
    }

    // A worker that dies with a task in hand has had just that one ...
    $dying = $s->connection();
    $worker = $dying->channel();
    $worker->basic_qos(0, 1, false);
    $in_hand = [];
    consume($worker, $queue, function (AMQPMessage $message) use (&$in_hand) {
        $in_hand[] = $message;
    });
    $worker->wait(null, false, DEADLINE);
    expect(messageCount($channel, $queue), 5, 'tasks left in the queue');
    $dying->close();
    expect(array_map(fn ($m) => $m->getBody(), $in_hand), ['task 0'], 'tasks of the first worker');
    expect($in_hand[0]->get('delivery_mode'), AMQPMessage::DELIVERY_MODE_PERSISTENT, 'delivery mode');

    // ... which goes to the next worker.
    $worker = $s->channel();
    $worker->basic_qos(0, 1, false);
    $done = take($worker, $queue, 6);
    expect(array_map(fn ($m) => $m->getBody(), $done), $tasks, 'tasks of the second worker');
    expect(array_map(fn ($m) => $m->isRedelivered(), $done), [true, false, false, false, false, false], 'redelivered');
    $worker->close();
    expect(messageCount($channel, $queue), 0, 'tasks left at the end');
}

function publishSubscribe(Scratch $s): void
{
    $channel = $s->channel();
    $logs = $s->exchange($channel, 'fanout');
    $queues = [];
    foreach (range(1, 2) as $_) {
        [$queue] = declareQueue($channel, '', exclusive: true);
        expect(str_starts_with($queue, 'amq.gen-'), true, "the name $queue begins with amq.gen-");
        $channel->queue_bind($queue, $logs);
        $queues[] = $queue;
    }
    foreach (['one', 'two'] as $line) {
        publish($channel, $logs, '', $line);
    }
    foreach ($queues as $queue) {
        expect(bodies($channel, $queue, 2), ['one', 'two'], 'log lines');
    }
}

/** Binds a queue for each route, publishes each key as a message, and compares what every queue gets. */
function routed(Scratch $s, string $type, array $keys, array $routes): void
{
    $channel = $s->channel();
    $exchange = $s->exchange($channel, $type);
    $queues = [];
    foreach ($routes as [$bindings, $expected]) {
        $queue = $s->queue($channel, exclusive: true);
        foreach ($bindings as $binding) {
            $channel->queue_bind($queue, $exchange, $binding);
        }
        $queues[$queue] = $expected;
    }
    foreach ($keys as $key) {
        publish($channel, $exchange, $key, $key);
    }
    foreach ($queues as $queue => $expected) {
        $messages = take($channel, $queue, count($expected));
        expect(array_map(fn ($m) => $m->getRoutingKey(), $messages), $expected, 'routing keys');
        expect(array_map(fn ($m) => $m->getBody(), $messages), $expected, 'bodies');
        expect(messageCount($channel, $queue), 0, 'further messages');
    }
}

function routing(Scratch $s): void
{
    routed($s, 'direct', ['info', 'error', 'debug', 'warning', 'error'], [
        [['error'], ['error', 'error']],
        [['info', 'warning', 'error'], ['info', 'error', 'warning', 'error']],
    ]);
}

function topics(Scratch $s): void
{
    $keys = [
        'quick.orange.rabbit', 'lazy.orange.elephant', 'quick.orange.fox', 'lazy.brown.fox', 'lazy.pink.rabbit',
        'quick.brown.fox', 'orange', 'quick.orange.new.rabbit', 'lazy.orange.new.rabbit', 'lazy',
    ];
    routed($s, 'topic', $keys, [
        [['*.orange.*'], ['quick.orange.rabbit', 'lazy.orange.elephant', 'quick.orange.fox']],
        [['*.*.rabbit', 'lazy.#'], [
            'quick.orange.rabbit', 'lazy.orange.elephant', 'lazy.brown.fox', 'lazy.pink.rabbit',
            'lazy.orange.new.rabbit', 'lazy',
        ]],
        [['#'], $keys],
    ]);
}

function fib(int $n): int
{
    return $n < 2 ? $n : fib($n - 1) + fib($n - 2);
}

function rpc(Scratch $s): void
{
    $server = $s->channel();
    $rpc_queue = $s->queue($server);
    $reply_tos = [];
    $server->basic_qos(0, 1, false);
    consume($server, $rpc_queue, function (AMQPMessage $request) use ($server, &$reply_tos) {
        $reply_tos[] = $request->get('reply_to');
        $answer = (string) fib((int) $request->getBody());
        publish($server, '', $request->get('reply_to'), $answer, ['correlation_id' => $request->get('correlation_id')]);
        $request->ack();
    });

    $calls = function (AMQPChannel $client, string $reply_to, bool $no_ack) use ($server, $rpc_queue) {
        $replies = [];
        consume($client, $reply_to, function (AMQPMessage $reply) use (&$replies, $no_ack) {
            $replies[$reply->get('correlation_id')] = $reply->getBody();
            $no_ack || $reply->ack();
        }, $no_ack);
        foreach ([5, 10] as $n) {
            publish($client, '', $rpc_queue, (string) $n, ['reply_to' => $reply_to, 'correlation_id' => "call-$n"]);
            waitFor(function () use (&$replies, $n) {
                return isset($replies["call-$n"]);
            }, 'the reply', $server, $client);
        }
        expect($replies, ['call-5' => '5', 'call-10' => '55'], 'replies');
    };

    $client = $s->channel();
    [$own] = declareQueue($client, '', exclusive: true);
    $calls($client, $own, no_ack: false);
    expect($reply_tos, [$own, $own], 'reply_to in the requests');

    $reply_tos = [];
    $calls($s->channel(), 'amq.rabbitmq.reply-to', no_ack: true);
    $direct = array_filter($reply_tos, fn ($address) => str_starts_with($address, 'amq.rabbitmq.reply-to.'));
    expect(count($direct), 2, 'requests with a direct reply_to: ' . json_encode($reply_tos));
}

/** A channel in confirm mode, its queue, and what its handlers saw. */
final class Publisher
{
    public AMQPChannel $channel;
    public string $queue;
    public array $acked = [];
    public int $nacked = 0;
    public int $published = 0;

    public function __construct(Scratch $s)
    {
        $this->channel = $s->channel();
        $this->queue = $s->queue($this->channel);
        $this->channel->confirm_select();
        $this->channel->set_ack_handler(fn (AMQPMessage $message) => $this->acked[] = $message->getBody());
        $this->channel->set_nack_handler(fn (AMQPMessage $message) => $this->nacked++);
    }

    public function publish(): void
    {
        publish($this->channel, '', $this->queue, (string) $this->published++);
    }

    /** All that was published must be confirmed and in the queue. */
    public function expectAllConfirmed(): void
    {
        $bodies = array_map(strval(...), range(0, $this->published - 1));
        sort($this->acked, SORT_NUMERIC);
        expect($this->acked, $bodies, 'confirmed messages');
        expect($this->nacked, 0, 'nacked messages');
        expect(messageCount($this->channel, $this->queue), $this->published, 'messages in the queue');
    }
}

function confirmsOneByOne(Scratch $s): void
{
    $publisher = new Publisher($s);
    for ($i = 0; $i < 50; $i++) {
        $publisher->publish();
        $publisher->channel->wait_for_pending_acks(DEADLINE);
        $publisher->expectAllConfirmed();
    }
}

function confirmsBatch(Scratch $s): void
{
    $publisher = new Publisher($s);
    for ($batch = 0; $batch < 5; $batch++) {
        for ($i = 0; $i < 100; $i++) {
            $publisher->publish();
        }
        $publisher->channel->wait_for_pending_acks(DEADLINE);
        $publisher->expectAllConfirmed();
    }
}

function confirmsAsynchronous(Scratch $s): void
{
    $publisher = new Publisher($s);
    for ($i = 0; $i < 2000; $i++) {
        $publisher->publish();
        $publisher->channel->wait(null, true); // handles what is there, without waiting
    }
    waitFor(fn () => count($publisher->acked) + $publisher->nacked >= 2000, 'the confirms', $publisher->channel);
    $publisher->expectAllConfirmed();
}

function mandatoryReturn(Scratch $s): void
{
    $publisher = new Publisher($s);
    $nowhere = unique('nowhere');
    $returned = [];
    $publisher->channel->set_return_listener(function (...$arguments) use (&$returned) {
        $returned[] = $arguments;
    });
    $lost = new AMQPMessage('lost', ['message_id' => 'm1']);
    $publisher->channel->basic_publish($lost, '', $nowhere, mandatory: true);
    $publisher->channel->basic_publish(new AMQPMessage('dropped'), '', $nowhere);
    $publisher->channel->basic_publish(new AMQPMessage('kept'), '', $publisher->queue, mandatory: true);
    $publisher->channel->wait_for_pending_acks_returns(DEADLINE);

    expect(count($returned), 1, 'returned messages');
    [$code, $text, $exchange, $key, $message] = $returned[0];
    expect([$code, $text, $exchange, $key], [312, 'NO_ROUTE', '', $nowhere], 'return');
    expect([$message->getBody(), $message->get('message_id')], ['lost', 'm1'], 'message');
    expect($publisher->acked, ['lost', 'dropped', 'kept'], 'confirmed messages');
    expect(bodies($publisher->channel, $publisher->queue, 1), ['kept'], 'routed message');
}

function nackRequeue(Scratch $s): void
{
    $channel = $s->channel();
    $queue = $s->queue($channel);
    foreach (['a', 'b', 'c', 'd'] as $body) {
        publish($channel, '', $queue, $body);
    }
    $get = function (string $body, bool $redelivered) use ($channel, $queue): AMQPMessage {
        $message = $channel->basic_get($queue);
        expect([$message?->getBody(), $message?->isRedelivered()], [$body, $redelivered], 'message');
        return $message;
    };
    $get('a', false);
    $channel->basic_nack($get('b', false)->getDeliveryTag(), multiple: true, requeue: true);
    $get('a', true)->ack();
    $get('b', true)->ack();
    $get('c', false)->nack(requeue: false);
    $get('d', false)->ack();
    expect($channel->basic_get($queue), null, 'the queue at the end');
}

function prefetchFairness(Scratch $s): void
{
    $connection = $s->connection();
    [$slow, $fast] = [$connection->channel(), $connection->channel()];
    $queue = $s->queue($slow);
    [$at_slow, $at_fast] = [[], []];
    $slow->basic_qos(0, 1, false);
    $fast->basic_qos(0, 1, false);
    consume($slow, $queue, function (AMQPMessage $message) use (&$at_slow) {
        $at_slow[] = $message;
    });
    consume($fast, $queue, function (AMQPMessage $message) use (&$at_fast) {
        $at_fast[] = $message;
        $message->ack();
    });
    for ($i = 0; $i < 20; $i++) {
        publish($slow, '', $queue, (string) $i);
    }
    // The slow consumer acknowledges nothing, so all but its one message are for the fast one.
    $count = function (int $wanted) use (&$at_slow, &$at_fast) {
        return count($at_slow) + count($at_fast) >= $wanted;
    };
    waitFor(fn () => $count(20), '20 messages', $slow, $fast);
    expect(count($at_slow), 1, 'messages at the slow consumer');
    $at_slow[0]->ack();
    publish($slow, '', $queue, 'more');
    publish($slow, '', $queue, 'more');
    waitFor(fn () => $count(22), 'two more messages', $slow, $fast);
    expect(count($at_slow), 2, 'messages at the slow consumer after its ack');
}

function exclusiveQueue(Scratch $s): void
{
    $owner = $s->connection();
    $channel = $owner->channel();
    $queue = $s->queue($channel, exclusive: true);
    $locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$queue' in vhost '" . vhost() . "'";
    $stranger = $s->connection();
    $attempts = [
        fn (AMQPChannel $c) => declareQueue($c, $queue, exclusive: true),
        fn (AMQPChannel $c) => queueState($c, $queue),
        fn (AMQPChannel $c) => consume($c, $queue, fn () => null),
        fn (AMQPChannel $c) => $c->queue_delete($queue),
    ];
    foreach ($attempts as $attempt) {
        expectChannelError(fn () => $attempt($stranger->channel()), 405, $locked, whole: false);
    }
    publish($channel, '', $queue, 'mine');
    expect(bodies($channel, $queue, 1), ['mine'], 'message for the owner');
    $owner->close();
    $gone = "NOT_FOUND - no queue '$queue' in vhost '" . vhost() . "'";
    expectChannelError(fn () => queueState($stranger->channel(), $queue), 404, $gone);
}

function autoDeleteQueue(Scratch $s): void
{
    $connection = $s->connection();
    $channel = $connection->channel();
    $queue = $s->queue($channel, auto_delete: true);
    $tags = [consume($channel, $queue, fn () => null), consume($channel, $queue, fn () => null)];
    $channel->basic_cancel($tags[0]);
    expect(queueState($channel, $queue)[2], 1, 'consumers left');
    $channel->basic_cancel($tags[1]);

    $gone = "NOT_FOUND - no queue '$queue' in vhost '" . vhost() . "'";
    expectChannelError(function () use ($connection, $queue) {
        $deadline = microtime(true) + 5;
        while (microtime(true) < $deadline) {
            queueState($connection->channel(), $queue);
        }
    }, 404, $gone);
}

function redeclareErrors(Scratch $s): void
{
    $connection = $s->connection();
    $channel = $connection->channel();
    $limit = ['x-max-length' => 10];
    $queue = $s->queue($channel, durable: true, arguments: $limit);
    $exchange = $s->exchange($channel, 'fanout');
    declareQueue($channel, $queue, durable: true, arguments: $limit);

    $wrong = [
        ['durable', "received 'false' but current is 'true'", ['durable' => false, 'arguments' => $limit]],
        ['auto_delete', "received 'true' but current is 'false'",
            ['durable' => true, 'auto_delete' => true, 'arguments' => $limit]],
        ['x-max-length', "received '20' but current is '10'",
            ['durable' => true, 'arguments' => ['x-max-length' => 20]]],
        ['x-max-length', "received none but current is the value '10' of type 'signedint'", ['durable' => true]],
    ];
    foreach ($wrong as [$arg, $detail, $options]) {
        expectChannelError(
            fn () => declareQueue($connection->channel(), $queue, ...$options),
            406,
            "PRECONDITION_FAILED - inequivalent arg '$arg' for queue '$queue' in vhost '" . vhost() . "': $detail",
        );
    }
    expectChannelError(
        fn () => $connection->channel()->exchange_declare($exchange, 'direct', auto_delete: false),
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '$exchange' in vhost '" . vhost()
            . "': received 'direct' but current is 'fanout'",
    );
    $missing = unique('missing');
    expectChannelError(
        fn () => queueState($connection->channel(), $missing),
        404,
        "NOT_FOUND - no queue '$missing' in vhost '" . vhost() . "'",
    );
    expectChannelError(
        fn () => $connection->channel()->exchange_declare($missing, 'direct', passive: true),
        404,
        "NOT_FOUND - no exchange '$missing' in vhost '" . vhost() . "'",
    );
}

function reconnectAfterRestart(Scratch $s): void
{
    $channel = $s->channel();
    $queue = $s->queue($channel, durable: true);
    $exchange = $s->exchange($channel, 'direct', durable: true);
    $channel->queue_bind($queue, $exchange, 'key');
    consume($channel, $queue, fn () => null);
    broker('restart', meanwhile: function () use ($channel) {
        try {
            $channel->wait(null, false, DEADLINE);
        } catch (AMQPConnectionClosedException $error) {
            // The broker's reason shows only if the close-ok could still be sent, for which a
            // RabbitMQ that stops does not wait.
            if ($error->getCode() !== SOCKET_EPIPE) {
                expect($error->getCode(), 320, 'reply code');
                $text = $error->getMessage();
                expect(str_starts_with($text, 'CONNECTION_FORCED'), true, "$text begins with CONNECTION_FORCED");
            }
            return;
        }
        throw new Failed('the connection was not closed');
    });

    $channel = $s->reconnected()->channel();
    queueState($channel, $queue);
    $channel->exchange_declare($exchange, 'direct', passive: true);
    publish($channel, $exchange, 'key', 'through the binding');
    expect(bodies($channel, $queue, 1), ['through the binding'], 'message');
}

function body10Mib(Scratch $s): void
{
    $channel = $s->channel();
    $queue = $s->queue($channel);
    $body = random_bytes(10 << 20);
    publish($channel, '', $queue, $body);
    [$received] = bodies($channel, $queue, 1);
    expect(strlen($received), strlen($body), 'length of the body');
    expect($received === $body, true, 'the body came back the same');
}

function channels2000(Scratch $s): void
{
    $connection = $s->connection();
    $channels = [];
    for ($i = 0; $i < 2000; $i++) {
        $channels[] = $connection->channel();
    }
    $queue = $s->queue($channels[0]);
    foreach ($channels as $number => $channel) {
        publish($channel, '', $queue, (string) $number);
    }
    $numbers = array_map(intval(...), bodies($channels[1999], $queue, 2000));
    sort($numbers);
    expect($numbers === range(0, 1999), true, 'a message came from every channel');
    $open = array_filter($channels, fn ($channel) => $channel->is_open());
    expect(count($open), 2000, 'open channels');
}

function heartbeatTimeout(Scratch $s): void
{
    $channel = $s->connection(heartbeat: 2)->channel();
    broker('pause');
    $noticed = false;
    try {
        for ($deadline = microtime(true) + 30; !$noticed && microtime(true) < $deadline;) {
            try {
                $channel->wait(null, false, 0.5);
            } catch (AMQPTimeoutException) {
            } catch (AMQPHeartbeatMissedException) {
                $noticed = true;
            }
        }
    } finally {
        broker('resume');
    }
    expect($noticed, true, 'the missed heartbeats were noticed');

    $channel = $s->reconnected()->channel();
    $queue = $s->queue($channel);
    publish($channel, '', $queue, 'alive');
    expect(bodies($channel, $queue, 1), ['alive'], 'message after the pause');
}

echo 'client php-amqplib ' . Package::VERSION . "\n";
runCases([
    'tutorial-1-hello-world' => [helloWorld(...), 60],
    'tutorial-2-work-queues' => [workQueues(...), 60],
    'tutorial-3-publish-subscribe' => [publishSubscribe(...), 60],
    'tutorial-4-routing' => [routing(...), 60],
    'tutorial-5-topics' => [topics(...), 60],
    'tutorial-6-rpc' => [rpc(...), 60],
    'tutorial-7-confirms-one-by-one' => [confirmsOneByOne(...), 60],
    'tutorial-7-confirms-batch' => [confirmsBatch(...), 60],
    'tutorial-7-confirms-asynchronous' => [confirmsAsynchronous(...), 60],
    'mandatory-return' => [mandatoryReturn(...), 60],
    'nack-requeue' => [nackRequeue(...), 60],
    'prefetch-fairness' => [prefetchFairness(...), 60],
    'exclusive-queue' => [exclusiveQueue(...), 60],
    'auto-delete-queue' => [autoDeleteQueue(...), 60],
    'redeclare-errors' => [redeclareErrors(...), 60],
    'reconnect-after-restart' => [reconnectAfterRestart(...), 150],
    'body-10-mib' => [body10Mib(...), 60],
    'channels-2000' => [channels2000(...), 180],
    'heartbeat-timeout' => [heartbeatTimeout(...), 90],
]);
