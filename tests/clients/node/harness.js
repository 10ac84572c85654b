'use strict';

const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const amqp = require('amqplib');

const REPLY_DEADLINE_MS = 10_000;

function env(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const broker = {
  host: env('AMQP_HOST'),
  port: Number(env('AMQP_PORT')),
  user: env('AMQP_USER'),
  pass: env('AMQP_PASS'),
  vhost: env('AMQP_VHOST'),
  ctl: env('BROKER_CTL'),
};

async function brokerCtl(command) {
  await promisify(execFile)(broker.ctl, [command]);
}

/** Rejects if `promise` has not settled within `ms`. */
function within(ms, what, promise) {
  let timer;
  const expiry = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, expiry]).finally(() => clearTimeout(timer));
}

/** Calls `probe` until it returns something truthy, and returns that. */
async function until(what, probe, ms = REPLY_DEADLINE_MS) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not so within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** An unbounded queue of events that can be awaited one at a time. */
class Inbox {
  #items = [];
  #takers = [];

  put(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  get size() {
    return this.#items.length;
  }

  next(what = 'message', ms = REPLY_DEADLINE_MS) {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return within(ms, what, new Promise((resolve) => this.#takers.push(resolve)));
  }
}

let serial = 0;

/** What one case opens and declares; all of it is removed when the case ends. */
class Scope {
  #connections = [];
  #queues = [];
  #exchanges = [];
  #undo = [];

  name(label) {
    return `leveret.node.${process.pid}.${++serial}.${label}`;
  }

  queueName(label) {
    const name = this.name(label);
    this.#queues.push(name);
    return name;
  }

  exchangeName(label) {
    const name = this.name(label);
    this.#exchanges.push(name);
    return name;
  }

  /** Registers something to be done when the case ends, whatever its outcome. */
  onEnd(action) {
    this.#undo.push(action);
  }

  async connect({ heartbeat = 0, recovery } = {}) {
    const options = {
      protocol: 'amqp',
      hostname: broker.host,
      port: broker.port,
      username: broker.user,
      password: broker.pass,
      vhost: encodeURIComponent(broker.vhost),
      heartbeat,
    };
    const connection = await amqp.connect(options, { recovery });
    connection.on('error', () => {});
    this.#connections.push(connection);
    return connection;
  }

  async end() {
    for (const action of this.#undo.reverse()) await action();
    for (const connection of this.#connections) {
      await within(5000, 'connection.close', connection.close()).catch(() => {});
    }
    if (this.#queues.length === 0 && this.#exchanges.length === 0) return;
    const sweeper = await amqp.connect({
      hostname: broker.host,
      port: broker.port,
      username: broker.user,
      password: broker.pass,
      vhost: encodeURIComponent(broker.vhost),
    });
    const channel = await openChannel(sweeper);
    for (const queue of this.#queues) await channel.deleteQueue(queue);
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange);
    await sweeper.close();
  }
}

/** Opens a channel whose errors do not end the process. */
async function openChannel(connection) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return channel;
}

async function openConfirmChannel(connection) {
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  return channel;
}

/** Starts a consumer and returns the inbox its messages arrive in. */
async function consume(channel, queue, options = {}) {
  const inbox = new Inbox();
  const { consumerTag } = await channel.consume(queue, (message) => inbox.put(message), options);
  inbox.consumerTag = consumerTag;
  return inbox;
}

/** Publishes and resolves when the broker has confirmed the message. */
function publishConfirmed(channel, exchange, key, content, options = {}) {
  return new Promise((resolve, reject) => {
    channel.publish(exchange, key, content, options, (err) => (err ? reject(err) : resolve()));
  });
}

/** The number of messages in the queue that are ready for delivery. */
async function ready(channel, queue) {
  return (await channel.checkQueue(queue)).messageCount;
}

module.exports = {
  Inbox,
  Scope,
  broker,
  brokerCtl,
  consume,
  openChannel,
  openConfirmChannel,
  publishConfirmed,
  ready,
  until,
  within,
};
