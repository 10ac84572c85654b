'use strict';

// What people build from time-outs, limits, dead letters, delays and priorities.

const assert = require('node:assert/strict');
const { consume, openChannel, openConfirmChannel, publishConfirmed, ready, until } = require('./harness');

const text = (message) => message.content.toString();

/** Options of a queue whose dead letters go straight to another queue. */
const deadLettersTo = (queue, options = {}) => ({
  deadLetterExchange: '',
  deadLetterRoutingKey: queue,
  ...options,
});

/** How often the message died of this reason in this queue. */
function deaths(message, queue, reason) {
  const entries = message.properties.headers['x-death'] ?? [];
  return entries
    .filter((entry) => entry.queue === queue && entry.reason === reason)
    .reduce((sum, entry) => sum + entry.count, 0);
}

function assertTimedOut(message, queue, expiration) {
  const { headers } = message.properties;
  assert.equal(headers['x-death'].length, 1);
  const { time, ...death } = headers['x-death'][0];
  assert.equal(time['!'], 'timestamp');
  assert.deepEqual(death, {
    ...(expiration && { 'original-expiration': expiration }),
    count: 1,
    reason: 'expired',
    queue,
    exchange: '',
    'routing-keys': [queue],
  });
  assert.equal(message.properties.expiration, undefined);
  assert.equal(headers['x-first-death-reason'], 'expired');
}

async function orderTimeOutOfAQueue(scope) {
  const [unpaid, cancelled] = [scope.queueName('unpaid'), scope.queueName('cancelled')];
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertQueue(cancelled);
  await channel.assertQueue(unpaid, deadLettersTo(cancelled, { messageTtl: 300 }));
  const inbox = await consume(channel, cancelled, { noAck: true });
  const start = Date.now();
  for (const order of ['0', '1', '2']) {
    await publishConfirmed(channel, '', unpaid, Buffer.from(order), { persistent: true });
  }
  // One is paid in time.
  assert.equal(text(await channel.get(unpaid, { noAck: true })), '0');
  for (const order of ['1', '2']) {
    const letter = await inbox.next('dead letter');
    assert.equal(text(letter), order);
    assert.equal(letter.fields.exchange, '');
    assert.equal(letter.fields.routingKey, cancelled);
    assertTimedOut(letter, unpaid);
  }
  assert.ok(Date.now() - start >= 299, 'before its time');
  assert.equal(await ready(channel, unpaid), 0);
}

async function orderTimeOutOfAMessage(scope) {
  const [unpaid, cancelled] = [scope.queueName('unpaid'), scope.queueName('cancelled')];
  const channel = await openChannel(await scope.connect());
  await channel.assertQueue(cancelled);
  await channel.assertQueue(unpaid, deadLettersTo(cancelled));
  const inbox = await consume(channel, cancelled, { noAck: true });
  const start = Date.now();
  channel.sendToQueue(unpaid, Buffer.from('order'), { expiration: 300, messageId: 'm1' });
  const letter = await inbox.next('dead letter');
  assert.ok(Date.now() - start >= 299, 'before its time');
  assert.equal(text(letter), 'order');
  assert.equal(letter.properties.messageId, 'm1');
  assertTimedOut(letter, unpaid, '300');
}

/** RabbitMQ keeps the second message until the first is gone. */
async function orderTimeOutBehindALongerOne(scope) {
  const [unpaid, cancelled] = [scope.queueName('unpaid'), scope.queueName('cancelled')];
  const channel = await openChannel(await scope.connect());
  await channel.assertQueue(cancelled);
  await channel.assertQueue(unpaid, deadLettersTo(cancelled));
  const inbox = await consume(channel, cancelled, { noAck: true });
  for (const expiration of ['60000', '400', '100']) {
    channel.sendToQueue(unpaid, Buffer.from(expiration), { expiration });
  }
  assert.equal(text(await inbox.next('dead letter')), '100');
  assert.equal(text(await inbox.next('dead letter')), '400');
  assert.equal(await ready(channel, unpaid), 1);
}

async function retryThreeTimesThenPark(scope) {
  const [work, wait, parked] = ['work', 'wait', 'parked'].map((label) => scope.queueName(label));
  const channel = await openChannel(await scope.connect());
  await channel.assertQueue(parked);
  await channel.assertQueue(work, deadLettersTo(wait));
  await channel.assertQueue(wait, deadLettersTo(work, { messageTtl: 50 }));
  const attempts = { hopeless: [], 'needs two': [] };
  await channel.consume(work, (message) => {
    const before = deaths(message, work, 'rejected');
    attempts[text(message)].push(before);
    if (text(message) === 'needs two' && before === 1) {
      channel.ack(message);
    } else if (before < 3) {
      channel.nack(message, false, false);
    } else {
      channel.sendToQueue(parked, message.content, message.properties);
      channel.ack(message);
    }
  });
  Object.keys(attempts).forEach((body) => channel.sendToQueue(work, Buffer.from(body)));
  const letter = await (await consume(channel, parked, { noAck: true })).next('parked message');
  assert.equal(text(letter), 'hopeless');
  assert.deepEqual(attempts, { hopeless: [0, 1, 2, 3], 'needs two': [0, 1] });
  assert.equal(deaths(letter, wait, 'expired'), 3);
  const newest = letter.properties.headers['x-death'][0];
  assert.deepEqual([newest.queue, newest.reason], [wait, 'expired']);
  assert.equal(await ready(channel, work), 0);
  assert.equal(await ready(channel, wait), 0);
}

async function retryUntilTheDeliveryLimit(scope) {
  const [work, parked] = [scope.queueName('work'), scope.queueName('parked')];
  const channel = await openChannel(await scope.connect());
  await channel.assertQueue(parked);
  const limited = { 'x-queue-type': 'quorum', 'x-delivery-limit': 3 };
  await channel.assertQueue(work, deadLettersTo(parked, { durable: true, arguments: limited }));
  await channel.prefetch(1);
  const counts = [];
  await channel.consume(work, (message) => {
    counts.push([message.properties.headers['x-delivery-count'] ?? 0, message.fields.redelivered]);
    channel.nack(message, false, true);
  });
  channel.sendToQueue(work, Buffer.from('poison'));
  const letter = await (await consume(channel, parked, { noAck: true })).next('parked message');
  assert.equal(text(letter), 'poison');
  assert.deepEqual(counts, [[0, false], [1, true], [2, true], [3, true]]);
  assert.equal(letter.properties.headers['x-death'].length, 1);
  assert.equal(deaths(letter, work, 'delivery_limit'), 1);
}

async function delayedExchange(scope) {
  const [exchange, queue] = [scope.exchangeName('delayed'), scope.queueName('reminders')];
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertExchange(exchange, 'x-delayed-message', { arguments: { 'x-delayed-type': 'topic' } });
  await channel.assertQueue(queue);
  await channel.bindQueue(queue, exchange, 'reminder.*');
  const inbox = await consume(channel, queue, { noAck: true });
  const start = Date.now();
  for (const delay of [600, 200, 400]) {
    // Confirmed now, delivered later.
    await publishConfirmed(channel, exchange, `reminder.${delay}`, Buffer.from(`${delay}`), {
      headers: { 'x-delay': delay },
    });
  }
  await publishConfirmed(channel, exchange, 'reminder.now', Buffer.from('now'));
  assert.equal(text(await inbox.next('message without delay')), 'now');
  for (const delay of [200, 400, 600]) {
    const message = await inbox.next(`message after ${delay} ms`);
    assert.ok(Date.now() - start >= delay - 1, `${delay} ms: before its time`);
    assert.equal(text(message), `${delay}`);
    assert.equal(message.properties.headers['x-delay'], -delay);
  }
}

async function prioritiesUnderLoad(scope) {
  const queue = scope.queueName('ranked');
  const connection = await scope.connect();
  const [publisher, consumer] = [await openConfirmChannel(connection), await openChannel(connection)];
  await publisher.assertQueue(queue, { maxPriority: 10 });
  const publish = (priority, body) => publishConfirmed(publisher, '', queue, Buffer.from(body), { priority });
  const backlog = Array.from({ length: 300 }, (_, i) => ({ priority: (i * 7) % 10, body: `${i}` }));
  await Promise.all(backlog.map(({ priority, body }) => publish(priority, body)));

  const received = [];
  await consumer.prefetch(1);
  await consumer.consume(queue, (message) => {
    received.push({ priority: message.properties.priority, body: text(message) });
    consumer.ack(message);
  });
  await until('a part of the backlog', () => received.length >= 100);
  await publish(10, 'urgent');
  const before = received.length;
  await until('all messages', () => received.length === 301);
  const at = received.findIndex(({ body }) => body === 'urgent');
  assert.ok(at <= before + 1, `urgent was number ${at} when ${before} had been received`);
  received.splice(at, 1);
  assert.deepEqual(received, backlog.sort((a, b) => b.priority - a.priority), 'high first, then by age');
}

async function rejectPublish(scope) {
  const queue = scope.queueName('full');
  const channel = await openConfirmChannel(await scope.connect());
  await channel.assertQueue(queue, { maxLength: 2, arguments: { 'x-overflow': 'reject-publish' } });
  const publish = (body) => publishConfirmed(channel, '', queue, Buffer.from(body));
  await publish('one');
  await publish('two');
  await assert.rejects(publish('refused'), /message nacked/);
  await assert.rejects(publish('refused'), /message nacked/);
  assert.equal(text(await channel.get(queue, { noAck: true })), 'one');
  await publish('three');
  const inbox = await consume(channel, queue, { noAck: true });
  assert.equal(text(await inbox.next()), 'two');
  assert.equal(text(await inbox.next()), 'three');
}

module.exports = {
  'order-time-out-of-a-queue': { body: orderTimeOutOfAQueue },
  'order-time-out-of-a-message': { body: orderTimeOutOfAMessage },
  'order-time-out-behind-a-longer-one': { body: orderTimeOutBehindALongerOne },
  'retry-three-times-then-park': { body: retryThreeTimesThenPark },
  'retry-until-the-delivery-limit': { body: retryUntilTheDeliveryLimit },
  'delayed-exchange': { body: delayedExchange },
  'priorities-under-load': { body: prioritiesUnderLoad },
  'reject-publish': { body: rejectPublish },
};
