<?php

/* Runs each case in a process of its own, with a deadline, and has what the cases share. */

declare(strict_types=1);

require 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const DEADLINE = 15; // seconds for a message or an event to come in

final class Failed extends RuntimeException
{
}

function setting(string $name): string
{
    $value = getenv($name);
    if ($value === false) {
        fwrite(STDERR, "$name is not set\n");
        exit(2);
    }
    return $value;
}

function vhost(): string
{
    return setting('AMQP_VHOST');
}

function unique(string $word): string
{
    return "clients.$word." . bin2hex(random_bytes(6));
}

/** restart, pause or resume the broker; meanwhile something else may be done. */
function broker(string $action, ?callable $meanwhile = null): void
{
    $process = proc_open([setting('BROKER_CTL'), $action], [], $pipes);
    try {
        $meanwhile && $meanwhile();
    } finally {
        $status = proc_close($process);
    }
    if ($status !== 0) {
        throw new Failed("the broker did not $action");
    }
}

function expect(mixed $actual, mixed $expected, string $what): void
{
    if ($actual !== $expected) {
        throw new Failed("$what: got " . json_encode($actual) . ' instead of ' . json_encode($expected));
    }
}

/** The action must make the broker close its channel with this code and text, or one that begins with it. */
function expectChannelError(callable $action, int $code, string $text, bool $whole = true): void
{
    try {
        $action();
    } catch (AMQPProtocolChannelException $error) {
        expect($error->amqp_reply_code, $code, 'reply code');
        $actual = $error->amqp_reply_text;
        expect($whole ? $actual : substr($actual, 0, strlen($text)), $text, 'reply text');
        return;
    }
    throw new Failed("no error $code");
}

/** Connections, queues and exchanges of one case, which are gone at its end. */
final class Scratch
{
    private array $connections = [];
    private array $queues = [];
    private array $exchanges = [];

    public function connection(int $heartbeat = 0): AMQPStreamConnection
    {
        $connection = new AMQPStreamConnection(
            setting('AMQP_HOST'),
            (int) setting('AMQP_PORT'),
            setting('AMQP_USER'),
            setting('AMQP_PASS'),
            vhost(),
            connection_timeout: 5.0,
            read_write_timeout: 60.0,
            heartbeat: $heartbeat,
        );
        return $this->connections[] = $connection;
    }

    /** A new connection, as soon as the broker takes one. */
    public function reconnected(): AMQPStreamConnection
    {
        $deadline = microtime(true) + 30;
        while (true) {
            try {
                return $this->connection();
            } catch (AMQPExceptionInterface $error) {
                if (microtime(true) > $deadline) {
                    throw $error;
                }
                usleep(100_000);
            }
        }
    }

    /** A channel on a connection of its own. */
    public function channel(): AMQPChannel
    {
        return $this->connection()->channel();
    }

    public function queue(
        AMQPChannel $channel,
        bool $durable = false,
        bool $exclusive = false,
        bool $auto_delete = false,
        array $arguments = [],
    ): string {
        $name = unique('queue');
        declareQueue($channel, $name, $durable, $exclusive, $auto_delete, $arguments);
        if (!$exclusive) {
            $this->queues[] = $name;
        }
        return $name;
    }

    public function exchange(AMQPChannel $channel, string $type, bool $durable = false): string
    {
        $name = unique($type);
        $channel->exchange_declare($name, $type, durable: $durable, auto_delete: false);
        return $this->exchanges[] = $name;
    }

    public function cleanUp(): void
    {
        foreach ($this->connections as $connection) {
            if ($connection->isConnected()) {
                $connection->close();
            }
        }
        if ($this->queues || $this->exchanges) {
            $connection = $this->connection();
            $channel = $connection->channel();
            array_map(fn ($name) => $channel->queue_delete($name), $this->queues);
            array_map(fn ($name) => $channel->exchange_delete($name), $this->exchanges);
            $connection->close();
        }
    }
}

function declareQueue(
    AMQPChannel $channel,
    string $name,
    bool $durable = false,
    bool $exclusive = false,
    bool $auto_delete = false,
    array $arguments = [],
): array {
    return $channel->queue_declare(
        $name,
        durable: $durable,
        exclusive: $exclusive,
        auto_delete: $auto_delete,
        arguments: new AMQPTable($arguments),
    );
}

/** The name, message count and consumer count of a queue that is there. */
function queueState(AMQPChannel $channel, string $name): array
{
    return $channel->queue_declare($name, passive: true);
}

function messageCount(AMQPChannel $channel, string $queue): int
{
    return queueState($channel, $queue)[1];
}

function publish(AMQPChannel $channel, string $exchange, string $key, string $body, array $properties = []): void
{
    $channel->basic_publish(new AMQPMessage($body, $properties), $exchange, $key);
}

/** Consumes with this callback and gives the consumer's tag. */
function consume(AMQPChannel $channel, string $queue, callable $callback, bool $no_ack = false): string
{
    return $channel->basic_consume($queue, no_ack: $no_ack, callback: $callback);
}

/** Lets the channels work until the condition holds. */
function waitFor(callable $condition, string $what, AMQPChannel ...$channels): void
{
    $deadline = microtime(true) + DEADLINE;
    while (!$condition()) {
        if (microtime(true) > $deadline) {
            throw new Failed('waited ' . DEADLINE . " s for $what");
        }
        foreach ($channels as $channel) {
            try {
                $channel->wait(null, false, 0.05);
            } catch (AMQPTimeoutException) {
            }
        }
    }
}

/**
 * Consumes this many messages and acknowledges them.
 *
 * @return AMQPMessage[]
 */
function take(AMQPChannel $channel, string $queue, int $count): array
{
    $messages = [];
    $tag = consume($channel, $queue, function (AMQPMessage $message) use (&$messages) {
        $message->ack();
        $messages[] = $message;
    });
    waitFor(function () use (&$messages, $count) {
        return count($messages) >= $count;
    }, "$count messages", $channel);
    $channel->basic_cancel($tag);
    return $messages;
}

function bodies(AMQPChannel $channel, string $queue, int $count): array
{
    return array_map(fn ($message) => $message->getBody(), take($channel, $queue, $count));
}

/** Gives the reason why the case failed, or null. */
function runCase(callable $case, int $seconds): ?string
{
    [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    $pid = pcntl_fork();
    if ($pid === 0) {
        fclose($ours);
        $scratch = new Scratch();
        try {
            $case($scratch);
            $scratch->cleanUp();
            fwrite($theirs, 'passed');
        } catch (Throwable $error) {
            $where = basename($error->getFile()) . ':' . $error->getLine();
            fwrite($theirs, 'failed ' . strtr($error->getMessage() ?: $error::class, "\n", ' ') . " ($where)");
            try {
                $scratch->cleanUp();
            } catch (Throwable) {
                // The failure itself says more than what it led to.
            }
        }
        exit(0);
    }
    fclose($theirs);
    $read = [$ours];
    $none = null;
    $ended = stream_select($read, $none, $none, $seconds);
    $answer = $ended ? (string) fread($ours, 2000) : "failed no end after $seconds s";
    if (!$ended) {
        posix_kill($pid, SIGKILL);
    }
    pcntl_waitpid($pid, $status);
    if ($answer === 'passed') {
        return null;
    }
    return substr($answer, strlen('failed ')) ?: "the case's process ended with status $status";
}

/** Runs the cases named on the command line, or all of them; each is a function and its seconds. */
function runCases(array $cases): never
{
    global $argv;
    $names = array_slice($argv, 1) ?: array_keys($cases);
    $failures = 0;
    foreach ($names as $name) {
        [$case, $seconds] = $cases[$name];
        $reason = runCase($case, $seconds);
        if ($reason === null) {
            echo "ok $name\n";
            continue;
        }
        $failures++;
        echo "not ok $name - $reason\n";
        if ($name === 'heartbeat-timeout') {
            broker('resume'); // it may have ended while the broker was paused
        }
    }
    exit($failures ? 1 : 0);
}
