'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { once } = require('node:events');
const {
  Inbox,
  broker,
  brokerCtl,
  consume,
  openChannel,
  openConfirmChannel,
  publishConfirmed,
  ready,
  until,
  within,
} = require('./harness');

const CHANNELS = 2000;
const MIB = 1024 * 1024;
const END = 'end';

const text = (message) => message.content.toString();

/** The texts that arrive up to, and without, the END message. */
async function textsUntilEnd(inbox) {
  const texts = [];
  for (;;) {
    const body = text(await inbox.next());
    if (body === END) return texts;
    texts.push(body);
  }
}

/** Runs `operation`, which must fail, and returns what the broker closed the channel with. */
async function channelError(connection, operation) {
  const channel = await openChannel(connection);
  const closed = new Promise((resolve) => channel.once('close', resolve));
  const err = await operation(channel).then(
    () => assert.fail('the broker accepted what it must refuse'),
    (failure) => failure,
  );
  await within(5000, 'channel close event', closed);
  const quoted = /with message "(.*)"$/s.exec(err.message);
  return { code: err.code, text: quoted ? quoted[1] : err.message };
}

/** True once a passive declare on a fresh channel answers 404. */
async function queueIsGone(connection, queue) {
  const channel = await openChannel(connection);
  try {
    await channel.checkQueue(queue);
    await channel.close();
    return false;
  } catch (err) {
    assert.equal(err.code, 404, err.message);
    return true;
  }
}

async function helloWorld(scope) {
  const queue = scope.queueName('hello');
  const connection = await scope.connect();
  const channel = await openChannel(connection);
  const declared = await channel.assertQueue(queue, { durable: false });
  assert.deepEqual(declared, { queue, messageCount: 0, consumerCount: 0 });

  channel.sendToQueue(queue, Buffer.from('Hello World!'));
  const inbox = await consume(channel, queue, { noAck: true });
  const message = await inbox.next();
  assert.equal(text(message), 'Hello World!');
  assert.equal(message.fields.exchange, '');
  assert.equal(message.fields.routingKey, queue);
  assert.equal(message.fields.redelivered, false);
  assert.equal(message.fields.deliveryTag, 1);
  assert.equal(message.fields.consumerTag, inbox.consumerTag);
  assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 0, consumerCount: 1 });
}

async function workQueues(scope) {
  const queue = scope.queueName('task_queue');
  const tasks = Array.from({ length: 8 }, (_, i) => `task ${i}`);
  const connection = await scope.connect();
  const producer = await openChannel(connection);
  await producer.assertQueue(queue, { durable: true });
  for (const task of tasks) producer.sendToQueue(queue, Buffer.from(task), { persistent: true });

  const done = [];
  const workers = [];
  for (let i = 0; i < 2; i += 1) {
    const channel = await openChannel(connection);
    await channel.prefetch(1);
    workers.push({ channel, inbox: await consume(channel, queue) });
  }

  for (let round = 0; round < tasks.length / workers.length; round += 1) {
    const held = await Promise.all(workers.map(({ inbox }) => inbox.next('task')));
    const left = tasks.length - workers.length * (round + 1);
    assert.equal(await ready(producer, queue), left, 'messages left while each worker holds one');
    held.forEach((message, i) => {
      assert.equal(message.properties.deliveryMode, 2);
      assert.equal(workers[i].inbox.size, 0, 'a worker with prefetch 1 was given a second task');
      done.push(text(message));
      workers[i].channel.ack(message);
    });
  }
  assert.deepEqual(done.sort(), tasks);

  for (const { channel } of workers) await channel.close();
  assert.equal(await ready(producer, queue), 0, 'acknowledged tasks came back');
}

async function publishSubscribe(scope) {
  const logs = scope.exchangeName('logs');
  const connection = await scope.connect();
  const channel = await openChannel(connection);
  await channel.assertExchange(logs, 'fanout', { durable: false });
  const subscribers = [];
  for (let i = 0; i < 2; i += 1) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    assert.match(queue, /^amq\.gen-./);
    await channel.bindQueue(queue, logs, '');
    subscribers.push({ queue, inbox: await consume(channel, queue, { noAck: true }) });
  }
  const [first, second] = subscribers;
  assert.notEqual(first.queue, second.queue);

  channel.publish(logs, 'any key', Buffer.from('to both'));
  for (const { inbox } of subscribers) assert.equal(text(await inbox.next()), 'to both');

  await channel.unbindQueue(second.queue, logs, '');
  channel.publish(logs, '', Buffer.from('to the first'));
  channel.sendToQueue(second.queue, Buffer.from('straight to the second'));
  assert.equal(text(await first.inbox.next()), 'to the first');
  assert.equal(text(await second.inbox.next()), 'straight to the second');
}

/** Binds one queue per list of keys, publishes to every key and compares what arrives where. */
async function route(scope, type, bindings, keys, expected) {
  const exchange = scope.exchangeName(type);
  const connection = await scope.connect();
  const channel = await openChannel(connection);
  await channel.assertExchange(exchange, type, { durable: false });
  const inboxes = [];
  for (const patterns of bindings) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const pattern of patterns) await channel.bindQueue(queue, exchange, pattern);
    inboxes.push({ queue, inbox: await consume(channel, queue, { noAck: true }) });
  }
  for (const key of keys) channel.publish(exchange, key, Buffer.from(key));
  for (const { queue } of inboxes) channel.sendToQueue(queue, Buffer.from(END));
  const received = [];
  for (const { inbox } of inboxes) received.push(await textsUntilEnd(inbox));
  assert.deepEqual(received, expected);
}

async function routing(scope) {
  await route(
    scope,
    'direct',
    [['error'], ['info', 'warning', 'error']],
    ['info', 'debug', 'error', 'warning', 'error.disk'],
    [['error'], ['info', 'error', 'warning']],
  );
}

async function topics(scope) {
  await route(
    scope,
    'topic',
    [['*.orange.*'], ['*.*.rabbit', 'lazy.#'], ['#']],
    [
      'quick.orange.rabbit',
      'lazy.orange.elephant',
      'quick.orange.fox',
      'lazy.brown.fox',
      'lazy.pink.rabbit',
      'quick.brown.fox',
      'orange',
      'quick.orange.new.rabbit',
      'lazy.orange.new.rabbit',
      'lazy',
    ],
    [
      ['quick.orange.rabbit', 'lazy.orange.elephant', 'quick.orange.fox'],
      [
        'quick.orange.rabbit',
        'lazy.orange.elephant',
        'lazy.brown.fox',
        'lazy.pink.rabbit',
        'lazy.orange.new.rabbit',
        'lazy',
      ],
      [
        'quick.orange.rabbit',
        'lazy.orange.elephant',
        'quick.orange.fox',
        'lazy.brown.fox',
        'lazy.pink.rabbit',
        'quick.brown.fox',
        'orange',
        'quick.orange.new.rabbit',
        'lazy.orange.new.rabbit',
        'lazy',
      ],
    ],
  );
}

const fibonacci = (n) => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));

/** Serves Fibonacci numbers from `queue`. */
async function serveFibonacci(connection, queue) {
  const channel = await openChannel(connection);
  await channel.assertQueue(queue, { durable: false });
  await channel.prefetch(1);
  const seen = [];
  await channel.consume(queue, (request) => {
    const { replyTo, correlationId } = request.properties;
    seen.push(replyTo);
    channel.sendToQueue(replyTo, Buffer.from(String(fibonacci(Number(text(request))))), {
      correlationId,
    });
    channel.ack(request);
  });
  return seen;
}

async function callFibonacci(channel, queue, inbox, replyTo) {
  const calls = new Map();
  for (const n of [30, 7, 0]) {
    const correlationId = crypto.randomUUID();
    calls.set(correlationId, n);
    channel.sendToQueue(queue, Buffer.from(String(n)), { replyTo, correlationId });
  }
  while (calls.size > 0) {
    const reply = await inbox.next('RPC reply');
    const n = calls.get(reply.properties.correlationId);
    assert.notEqual(n, undefined, 'a reply with an unknown correlation id');
    assert.equal(text(reply), String(fibonacci(n)));
    calls.delete(reply.properties.correlationId);
  }
}

async function rpc(scope) {
  const queue = scope.queueName('rpc_queue');
  const direct = 'amq.rabbitmq.reply-to';
  const replyAddresses = await serveFibonacci(await scope.connect(), queue);

  const connection = await scope.connect();
  const channel = await openChannel(connection);
  const { queue: callback } = await channel.assertQueue('', { exclusive: true });
  await callFibonacci(channel, queue, await consume(channel, callback, { noAck: true }), callback);
  assert.deepEqual(replyAddresses.splice(0), [callback, callback, callback]);

  const replies = await consume(channel, direct, { noAck: true });
  await callFibonacci(channel, queue, replies, direct);
  assert.equal(new Set(replyAddresses).size, 1);
  assert.ok(replyAddresses[0].startsWith(`${direct}.`), `reply-to was ${replyAddresses[0]}`);

  const withAck = await channelError(connection, (ch) => ch.consume(direct, () => {}));
  assert.deepEqual(withAck, {
    code: 406,
    text: 'PRECONDITION_FAILED - reply consumer cannot acknowledge',
  });
}

async function confirmsOneByOne(scope) {
  const queue = scope.queueName('confirms');
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertQueue(queue, { durable: true });
  for (let i = 1; i <= 20; i += 1) {
    const confirmed = publishConfirmed(channel, '', queue, Buffer.from(`${i}`), { persistent: true });
    await within(5000, `confirm ${i}`, confirmed);
    assert.equal(await ready(channel, queue), i);
  }
}

async function confirmsBatch(scope) {
  const queue = scope.queueName('confirms');
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertQueue(queue);
  for (let sent = 0; sent < 500; sent += 100) {
    for (let i = 0; i < 100; i += 1) channel.sendToQueue(queue, Buffer.from(`${sent + i}`));
    await within(5000, 'waitForConfirms', channel.waitForConfirms());
    assert.equal(await ready(channel, queue), sent + 100);
  }
}

async function confirmsAsynchronous(scope) {
  const queue = scope.queueName('confirms');
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertQueue(queue);
  const order = [];
  const confirms = Array.from({ length: 1000 }, (_, i) =>
    publishConfirmed(channel, '', queue, Buffer.from(`${i}`)).then(() => order.push(i)),
  );
  await within(10_000, 'all confirms', Promise.all(confirms));
  assert.equal(new Set(order).size, 1000);
  assert.equal(await ready(channel, queue), 1000);
}

async function mandatoryReturn(scope) {
  const queue = scope.queueName('routable');
  const exchange = scope.exchangeName('direct');
  const channel = await openConfirmChannel(await scope.connect());
  const events = [];
  const returns = new Inbox();
  channel.on('return', (message) => {
    events.push('return');
    returns.put(message);
  });
  await channel.assertQueue(queue);
  await channel.assertExchange(exchange, 'direct');
  await channel.bindQueue(queue, exchange, 'known');

  await publishConfirmed(channel, exchange, 'unknown', Buffer.from('lost?'), {
    mandatory: true,
    messageId: 'm-1',
    headers: { attempt: 1 },
  });
  events.push('confirm');
  const returned = await returns.next('basic.return');
  assert.deepEqual(events, ['return', 'confirm'], 'the return comes before the confirm');
  assert.equal(returned.fields.replyCode, 312);
  assert.equal(returned.fields.replyText, 'NO_ROUTE');
  assert.equal(returned.fields.exchange, exchange);
  assert.equal(returned.fields.routingKey, 'unknown');
  assert.equal(returned.properties.messageId, 'm-1');
  assert.deepEqual(returned.properties.headers, { attempt: 1 });
  assert.equal(text(returned), 'lost?');

  await publishConfirmed(channel, exchange, 'known', Buffer.from('routed'), { mandatory: true });
  await publishConfirmed(channel, exchange, 'unknown', Buffer.from('dropped'));
  assert.equal(await ready(channel, queue), 1);
  assert.deepEqual(events, ['return', 'confirm'], 'only the unroutable mandatory message returns');
}

async function nackRequeue(scope) {
  const queue = scope.queueName('nack');
  const channel = await openChannel(await scope.connect());
  await channel.assertQueue(queue);
  for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));

  const first = await channel.get(queue);
  const second = await channel.get(queue);
  assert.deepEqual([text(first), first.fields.redelivered], ['a', false]);
  assert.equal(first.fields.messageCount, 2);
  assert.equal(text(second), 'b');
  channel.nack(first, false, true);
  const again = await channel.get(queue);
  assert.deepEqual([text(again), again.fields.redelivered], ['a', true], 'requeued in place');
  channel.nack(again, true, true);

  await channel.prefetch(3);
  const inbox = await consume(channel, queue);
  const all = [await inbox.next(), await inbox.next(), await inbox.next()];
  assert.deepEqual(
    all.map((message) => [text(message), message.fields.redelivered]),
    [
      ['a', true],
      ['b', true],
      ['c', false],
    ],
  );
  channel.reject(all[0], true);
  const redelivered = await inbox.next();
  assert.deepEqual([text(redelivered), redelivered.fields.redelivered], ['a', true]);
  channel.nack(all[1], false, false);
  channel.ack(all[2]);
  channel.ack(redelivered);
  await channel.cancel(inbox.consumerTag);
  assert.equal(await ready(channel, queue), 0);
}

async function prefetchFairness(scope) {
  const queue = scope.queueName('fair');
  const connection = await scope.connect();
  const slow = await openChannel(connection);
  const fast = await openChannel(connection);
  const producer = await openChannel(connection);
  await producer.assertQueue(queue);
  await slow.prefetch(1);
  await fast.prefetch(1);
  const slowInbox = await consume(slow, queue);
  const fastInbox = await consume(fast, queue);
  for (let i = 0; i < 20; i += 1) producer.sendToQueue(queue, Buffer.from(`${i}`));

  const held = await slowInbox.next();
  const bodies = [text(held)];
  for (let i = 0; i < 19; i += 1) {
    const message = await fastInbox.next();
    bodies.push(text(message));
    fast.ack(message);
  }
  assert.equal(new Set(bodies).size, 20, 'every message exactly once');
  assert.equal(slowInbox.size, 0, 'the slow consumer was given a second message');
  slow.ack(held);
  await slow.cancel(slowInbox.consumerTag);
  await fast.cancel(fastInbox.consumerTag);

  const window = await openChannel(connection);
  await window.prefetch(5);
  for (let i = 0; i < 12; i += 1) producer.sendToQueue(queue, Buffer.from(`${i}`));
  await until('12 messages ready', async () => (await ready(producer, queue)) === 12);
  const inbox = await consume(window, queue);
  const taken = [];
  for (let i = 0; i < 5; i += 1) taken.push(await inbox.next());
  assert.equal(await ready(producer, queue), 7, 'prefetch 5 lets 5 of 12 go');
  window.ack(taken[1], true);
  taken.push(await inbox.next(), await inbox.next());
  assert.equal(await ready(producer, queue), 5, 'two acks let two more go');
}

async function exclusiveQueue(scope) {
  const queue = scope.queueName('exclusive');
  const owner = await scope.connect();
  const other = await scope.connect();
  const channel = await openChannel(owner);
  await channel.assertQueue(queue, { exclusive: true });
  await channel.assertQueue(queue, { exclusive: true });

  const locked = {
    code: 405,
    text:
      `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost ` +
      `'${broker.vhost}'. It could be originally declared on another connection or the ` +
      'exclusive property value does not match that of the original declaration.',
  };
  assert.deepEqual(await channelError(other, (ch) => ch.checkQueue(queue)), locked);
  assert.deepEqual(
    await channelError(other, (ch) => ch.assertQueue(queue, { exclusive: true })),
    locked,
  );
  assert.deepEqual(await channelError(other, (ch) => ch.consume(queue, () => {})), locked);

  await owner.close();
  await until('the queue is deleted with its connection', () => queueIsGone(other, queue));
}

async function autoDeleteQueue(scope) {
  const queue = scope.queueName('auto_delete');
  const connection = await scope.connect();
  const channel = await openChannel(connection);
  await channel.assertQueue(queue, { autoDelete: true });
  assert.equal(await queueIsGone(connection, queue), false, 'unused so far, so still there');

  const first = await consume(channel, queue);
  const second = await consume(channel, queue);
  await channel.cancel(first.consumerTag);
  assert.equal((await channel.checkQueue(queue)).consumerCount, 1);
  await channel.cancel(second.consumerTag);
  await until('the queue is deleted', () => queueIsGone(connection, queue));
}

async function redeclareErrors(scope) {
  const { vhost } = broker;
  const queue = scope.queueName('queue');
  const limited = scope.queueName('limited');
  const exchange = scope.exchangeName('exchange');
  const missing = scope.name('missing');
  const connection = await scope.connect();
  const channel = await openChannel(connection);
  await channel.assertQueue(queue, { durable: true });
  await channel.assertQueue(queue, { durable: true });
  await channel.assertQueue(limited, { maxLength: 10 });
  await channel.assertExchange(exchange, 'direct', { durable: true });
  await channel.assertExchange(exchange, 'direct', { durable: true });

  const refused = (operation) => channelError(connection, operation);
  const inequivalent = (arg, kind, name, received, current) => ({
    code: 406,
    text:
      `PRECONDITION_FAILED - inequivalent arg '${arg}' for ${kind} '${name}' in vhost ` +
      `'${vhost}': received ${received} but current is ${current}`,
  });
  assert.deepEqual(
    await refused((ch) => ch.assertQueue(queue, { durable: false })),
    inequivalent('durable', 'queue', queue, "'false'", "'true'"),
  );
  assert.deepEqual(
    await refused((ch) => ch.assertQueue(queue, { durable: true, autoDelete: true })),
    inequivalent('auto_delete', 'queue', queue, "'true'", "'false'"),
  );
  assert.deepEqual(
    await refused((ch) => ch.assertQueue(limited)),
    inequivalent('x-max-length', 'queue', limited, 'none', "the value '10' of type 'byte'"),
  );
  assert.deepEqual(
    await refused((ch) => ch.assertExchange(exchange, 'fanout', { durable: true })),
    inequivalent('type', 'exchange', exchange, "'fanout'", "'direct'"),
  );
  assert.deepEqual(
    await refused((ch) => ch.assertExchange(exchange, 'direct', { durable: false })),
    inequivalent('durable', 'exchange', exchange, "'false'", "'true'"),
  );
  assert.deepEqual(await refused((ch) => ch.checkQueue(missing)), {
    code: 404,
    text: `NOT_FOUND - no queue '${missing}' in vhost '${vhost}'`,
  });
  assert.deepEqual(await refused((ch) => ch.checkExchange(missing)), {
    code: 404,
    text: `NOT_FOUND - no exchange '${missing}' in vhost '${vhost}'`,
  });
  assert.deepEqual(await refused((ch) => ch.assertQueue('amq.mine')), {
    code: 403,
    text: "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
  });

  const publisher = await openChannel(connection);
  const failure = once(publisher, 'error');
  publisher.publish(missing, 'key', Buffer.from('nowhere'));
  const [err] = await within(5000, 'channel error after publish', failure);
  assert.equal(err.code, 404);
  assert.match(err.message, new RegExp(`NOT_FOUND - no exchange '${missing}' in vhost`));

  assert.equal((await channel.checkQueue(queue)).queue, queue, 'other channels stay usable');
}

async function reconnectAfterRestart(scope) {
  const queue = scope.queueName('durable');
  const exchange = scope.exchangeName('durable');
  const setup = await scope.connect();
  const channel = await openChannel(setup);
  await channel.assertExchange(exchange, 'direct', { durable: true });
  await channel.assertQueue(queue, { durable: true });
  await channel.bindQueue(queue, exchange, 'key');

  const inboxes = [];
  const recovering = await scope.connect({
    recovery: {
      initialDelay: 50,
      maxDelay: 500,
      setup: async (model) => {
        const ch = await openChannel(model);
        inboxes.push(await consume(ch, queue, { noAck: true }));
      },
    },
  });
  assert.equal(inboxes.length, 1);

  const closed = once(setup, 'close');
  const lost = once(recovering, 'disconnect');
  const back = once(recovering, 'connect');
  await brokerCtl('restart');
  for (const [reason] of [await within(5000, 'close', closed), await within(5000, 'lost', lost)]) {
    assert.equal(reason.code, 320, String(reason));
    assert.match(reason.message, /CONNECTION_FORCED/);
  }
  await within(30_000, 'recovery', back);
  assert.equal(inboxes.length, 2);

  const producer = await recovering.createConfirmChannel();
  await producer.checkExchange(exchange);
  await publishConfirmed(producer, exchange, 'key', Buffer.from('after'), { mandatory: true });
  assert.equal(text(await inboxes[1].next('message over the recovered binding')), 'after');
}

async function bigBody(scope) {
  const queue = scope.queueName('big');
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertQueue(queue);
  const { frameMax } = channel.connection;
  const payload = frameMax > 0 ? frameMax - 8 : 131_064;
  const inbox = await consume(channel, queue);
  for (const size of [0, 1, payload, payload + 1, 2 * payload, 10 * MIB]) {
    const body = crypto.randomBytes(size);
    await publishConfirmed(channel, '', queue, body, { contentType: 'application/octet-stream' });
    const message = await inbox.next(`body of ${size} bytes`, 20_000);
    assert.equal(message.content.length, size);
    assert.ok(message.content.equals(body), `body of ${size} bytes differs`);
    assert.equal(message.properties.contentType, 'application/octet-stream');
    channel.ack(message);
  }
}

async function manyChannels(scope) {
  const queue = scope.queueName('channels');
  const connection = await scope.connect();
  const channels = await Promise.all(
    Array.from({ length: CHANNELS }, () => openChannel(connection)),
  );
  await channels[0].assertQueue(queue);
  channels.forEach((channel, i) => {
    channel.sendToQueue(queue, Buffer.from(`${i}`));
  });
  await until('every message queued', async () => (await ready(channels[0], queue)) === CHANNELS);
  const messages = await Promise.all(channels.map((channel) => channel.get(queue, { noAck: true })));
  assert.ok(messages.every(Boolean), 'a basic.get came back empty');
  assert.equal(new Set(messages.map(text)).size, CHANNELS);
  await Promise.all(channels.map((channel) => channel.close()));
}

async function heartbeatTimeout(scope) {
  const queue = scope.queueName('heartbeat');
  const connection = await scope.connect({ heartbeat: 1 });
  const failure = once(connection, 'error');
  await openChannel(connection);
  const idle = await within(4000, 'idle', failure).catch(() => 'still open');
  assert.equal(idle, 'still open', 'the broker sends heartbeats, so an idle connection lives');

  scope.onEnd(() => brokerCtl('resume'));
  const pausedAt = Date.now();
  await brokerCtl('pause');
  const [err] = await within(10_000, 'heartbeat timeout', failure);
  assert.match(err.message, /Heartbeat timeout/);
  assert.ok(Date.now() - pausedAt >= 1000, 'reported before a whole interval had passed');

  await brokerCtl('resume');
  const channel = await openConfirmChannel(await scope.connect({ heartbeat: 1 }));
  await channel.assertQueue(queue);
  await publishConfirmed(channel, '', queue, Buffer.from('alive'));
  assert.equal(text(await channel.get(queue, { noAck: true })), 'alive');
}

module.exports = {
  'tutorial-1-hello-world': { body: helloWorld },
  'tutorial-2-work-queues': { body: workQueues },
  'tutorial-3-publish-subscribe': { body: publishSubscribe },
  'tutorial-4-routing': { body: routing },
  'tutorial-5-topics': { body: topics },
  'tutorial-6-rpc': { body: rpc },
  'tutorial-7-confirms-one-by-one': { body: confirmsOneByOne },
  'tutorial-7-confirms-batch': { body: confirmsBatch },
  'tutorial-7-confirms-asynchronous': { body: confirmsAsynchronous },
  'mandatory-return': { body: mandatoryReturn },
  'nack-requeue': { body: nackRequeue },
  'prefetch-fairness': { body: prefetchFairness },
  'exclusive-queue': { body: exclusiveQueue },
  'auto-delete-queue': { body: autoDeleteQueue },
  'redeclare-errors': { body: redeclareErrors },
  'reconnect-after-restart': { body: reconnectAfterRestart, limit: 90_000 },
  'body-10-mib': { body: bigBody, limit: 60_000 },
  'channels-2000': { body: manyChannels, limit: 60_000 },
  'heartbeat-timeout': { body: heartbeatTimeout, limit: 40_000 },
};
