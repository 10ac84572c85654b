# The cases for Bunny.

require_relative "harness"

test "tutorial-1-hello-world" do |s|
  channel = s.channel
  queue = s.queue(channel)
  channel.default_exchange.publish("Hello World!", routing_key: queue)
  incoming, = consume(channel, queue, manual_ack: false)
  expect(receive(incoming, "the message").body, "Hello World!", "received")
end

test "tutorial-2-work-queues" do |s|
  channel = s.channel
  queue = s.queue(channel, durable: true)
  tasks = (0..5).map { |i| "task #{i}" }
  tasks.each { |task| channel.default_exchange.publish(task, routing_key: queue, persistent: true) }

  # A worker that dies with a task in hand has had just that one ...
  dying = s.connection
  worker = dying.create_channel
  worker.prefetch(1)
  incoming, = consume(worker, queue)
  in_hand = receive(incoming, "the first task")
  expect(in_hand.body, tasks.first, "first task")
  expect(in_hand.properties.delivery_mode, 2, "delivery mode")
  expect(message_count(channel, queue), 5, "tasks left in the queue")
  dying.close
  expect(incoming.size, 0, "further tasks of the first worker")

  # ... which goes to the next worker.
  worker = s.channel
  worker.prefetch(1)
  done = take(worker, queue, 6)
  expect(done.map(&:body), tasks, "tasks of the second worker")
  expect(done.map { |task| task.info.redelivered? }, [true] + [false] * 5, "redelivered")
  worker.close
  expect(message_count(channel, queue), 0, "tasks left at the end")
end

test "tutorial-3-publish-subscribe" do |s|
  channel = s.channel
  logs = s.exchange(channel, "fanout")
  queues = Array.new(2) { channel.queue("", exclusive: true).bind(logs) }
  %w[one two].each { |line| logs.publish(line) }
  queues.each do |queue|
    expect(queue.name.start_with?("amq.gen-"), true, "the name #{queue.name} begins with amq.gen-")
    expect(bodies(channel, queue.name, 2), %w[one two], "log lines")
  end
end

# Binds a queue for each list of keys, publishes each key as a message, and compares what every queue gets.
def routed(scratch, type, keys, routes)
  channel = scratch.channel
  exchange = scratch.exchange(channel, type)
  queues = routes.to_h do |bindings, expected|
    queue = channel.queue(scratch.queue(channel, exclusive: true), exclusive: true)
    bindings.each { |key| queue.bind(exchange, routing_key: key) }
    [queue.name, expected]
  end
  keys.each { |key| exchange.publish(key, routing_key: key) }
  queues.each do |queue, expected|
    messages = take(channel, queue, expected.size)
    expect(messages.map { |m| m.info.routing_key }, expected, "routing keys")
    expect(messages.map(&:body), expected, "bodies")
    expect(message_count(channel, queue), 0, "further messages")
  end
end

test "tutorial-4-routing" do |s|
  routed(s, "direct", %w[info error debug warning error],
         %w[error] => %w[error error],
         %w[info warning error] => %w[info error warning error])
end

test "tutorial-5-topics" do |s|
  keys = %w[quick.orange.rabbit lazy.orange.elephant quick.orange.fox lazy.brown.fox lazy.pink.rabbit
            quick.brown.fox orange quick.orange.new.rabbit lazy.orange.new.rabbit lazy]
  routed(s, "topic", keys,
         %w[*.orange.*] => %w[quick.orange.rabbit lazy.orange.elephant quick.orange.fox],
         %w[*.*.rabbit lazy.#] => %w[quick.orange.rabbit lazy.orange.elephant lazy.brown.fox lazy.pink.rabbit
                                     lazy.orange.new.rabbit lazy],
         %w[#] => keys)
end

def fib(n)
  n < 2 ? n : fib(n - 1) + fib(n - 2)
end

test "tutorial-6-rpc" do |s|
  server = s.channel
  rpc_queue = s.queue(server)
  addresses = ::Queue.new
  server.prefetch(1)
  server.queue(rpc_queue, no_declare: true).subscribe(manual_ack: true) do |info, properties, body|
    addresses << properties.reply_to
    server.default_exchange.publish(fib(body.to_i).to_s, routing_key: properties.reply_to,
                                                         correlation_id: properties.correlation_id)
    server.ack(info.delivery_tag)
  end

  # Calls twice; gives the addresses that the server saw.
  calls = lambda do |client, reply_to, manual_ack|
    replies, = consume(client, reply_to, manual_ack: manual_ack)
    [5, 10].map do |n|
      client.default_exchange.publish(n.to_s, routing_key: rpc_queue, reply_to: reply_to, correlation_id: "call-#{n}")
      reply = receive(replies, "the reply")
      client.ack(reply.info.delivery_tag) if manual_ack
      expect([reply.properties.correlation_id, reply.body], ["call-#{n}", fib(n).to_s], "reply")
      receive(addresses, "the request")
    end
  end

  client = s.channel
  own = client.queue("", exclusive: true).name
  expect(calls.call(client, own, true), [own, own], "reply_to in the requests")
  direct = calls.call(s.channel, "amq.rabbitmq.reply-to", false)
  expect(direct.all? { |address| address.start_with?("amq.rabbitmq.reply-to.") }, true,
         "#{direct} begin with amq.rabbitmq.reply-to.")
end

test "tutorial-7-confirms-one-by-one" do |s|
  channel = s.channel
  queue = s.queue(channel)
  channel.confirm_select
  50.times do |i|
    channel.default_exchange.publish(i.to_s, routing_key: queue)
    expect(channel.wait_for_confirms, true, "all is acknowledged")
    expect(message_count(channel, queue), i + 1, "messages after the confirm")
  end
end

test "tutorial-7-confirms-batch" do |s|
  channel = s.channel
  queue = s.queue(channel)
  channel.confirm_select
  1.upto(5) do |batch|
    100.times { |i| channel.default_exchange.publish(i.to_s, routing_key: queue) }
    expect(channel.wait_for_confirms, true, "all is acknowledged")
    expect(channel.unconfirmed_set.size, 0, "unconfirmed messages")
    expect(message_count(channel, queue), batch * 100, "messages after the batch")
  end
end

test "tutorial-7-confirms-asynchronous" do |s|
  channel = s.channel
  queue = s.queue(channel)
  confirms = ::Queue.new
  channel.confirm_select(->(tag, multiple, nack) { confirms << [tag, multiple, nack] })
  2000.times { |i| channel.default_exchange.publish(i.to_s, routing_key: queue) }
  outstanding = (1..2000).to_a
  until outstanding.empty?
    tag, multiple, nack = receive(confirms, "#{outstanding.size} confirms")
    expect(nack, false, "nack for #{tag}")
    expect(outstanding.include?(tag), true, "#{tag} was outstanding")
    outstanding.reject! { |t| multiple ? t <= tag : t == tag }
  end
  expect(bodies(channel, queue, 2000), (0...2000).map(&:to_s), "messages in the queue")
end

test "mandatory-return" do |s|
  channel = s.channel
  queue = s.queue(channel)
  nowhere = unique("nowhere")
  returns = ::Queue.new
  exchange = channel.default_exchange
  exchange.on_return { |info, properties, body| returns << Message.new(info, properties, body) }
  channel.confirm_select
  exchange.publish("dropped", routing_key: nowhere)
  exchange.publish("kept", routing_key: queue, mandatory: true)
  exchange.publish("lost", routing_key: nowhere, mandatory: true, message_id: "m1")
  expect(channel.wait_for_confirms, true, "all is acknowledged")
  returned = receive(returns, "the return")
  expect(returns.size, 0, "further returns")
  info = returned.info
  expect([info.reply_code, info.reply_text], [312, "NO_ROUTE"], "return")
  expect([info.exchange, info.routing_key], ["", nowhere], "address")
  expect([returned.body, returned.properties.message_id], %w[lost m1], "message")
  expect(bodies(channel, queue, 1), ["kept"], "routed message")
end

test "nack-requeue" do |s|
  channel = s.channel
  queue = s.queue(channel)
  %w[a b c d].each { |body| channel.default_exchange.publish(body, routing_key: queue) }
  get = lambda do |body, redelivered|
    info, _, actual = channel.basic_get(queue, manual_ack: true)
    expect([actual, info&.redelivered], [body, redelivered], "message")
    info.delivery_tag
  end
  get.call("a", false)
  channel.nack(get.call("b", false), true, true)
  channel.ack(get.call("a", true))
  channel.ack(get.call("b", true))
  channel.nack(get.call("c", false), false, false)
  channel.ack(get.call("d", false))
  expect(channel.basic_get(queue, manual_ack: true).last, nil, "the queue at the end")
end

test "prefetch-fairness" do |s|
  connection = s.connection
  slow = connection.create_channel
  fast = connection.create_channel
  queue = s.queue(slow)
  slow.prefetch(1)
  fast.prefetch(1)
  at_slow, = consume(slow, queue)
  at_fast = ::Queue.new
  fast.queue(queue, no_declare: true).subscribe(manual_ack: true) do |info, _, body|
    at_fast << body
    fast.ack(info.delivery_tag)
  end
  publisher = s.channel
  20.times { |i| publisher.default_exchange.publish(i.to_s, routing_key: queue) }
  # The slow consumer acknowledges nothing, so all but its one message are for the fast one.
  19.times { |i| receive(at_fast, "message #{i} at the fast consumer") }
  held = receive(at_slow, "a message at the slow consumer")
  expect([at_slow.size, at_fast.size], [0, 0], "further messages")
  slow.ack(held.info.delivery_tag)
  2.times { publisher.default_exchange.publish("more", routing_key: queue) }
  expect(receive(at_slow, "a message after the ack").body, "more", "message after the ack")
  expect(receive(at_fast, "a message at the fast consumer"), "more", "message at the fast consumer")
end

test "exclusive-queue" do |s|
  owner = s.connection
  channel = owner.create_channel
  queue = s.queue(channel, exclusive: true)
  beginning = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '#{queue}' in vhost '#{VHOST}'"
  locked = /\A#{Regexp.escape(beginning)}/
  stranger = s.connection
  expect_channel_error(405, locked) { stranger.create_channel.queue_declare(queue, exclusive: true) }
  expect_channel_error(405, locked) { stranger.create_channel.queue_declare(queue, passive: true) }
  expect_channel_error(405, locked) { stranger.create_channel.basic_consume(queue) }
  expect_channel_error(405, locked) { stranger.create_channel.queue_delete(queue) }

  channel.default_exchange.publish("mine", routing_key: queue)
  expect(bodies(channel, queue, 1), ["mine"], "message for the owner")
  owner.close
  expect_channel_error(404, "NOT_FOUND - no queue '#{queue}' in vhost '#{VHOST}'") do
    stranger.create_channel.queue_declare(queue, passive: true)
  end
end

test "auto-delete-queue" do |s|
  connection = s.connection
  channel = connection.create_channel
  queue = s.queue(channel, auto_delete: true)
  consumers = Array.new(2) { consume(channel, queue).last }
  consumers[0].cancel
  expect(channel.queue_declare(queue, passive: true).consumer_count, 1, "consumers left")
  consumers[1].cancel
  expect_channel_error(404, "NOT_FOUND - no queue '#{queue}' in vhost '#{VHOST}'") do
    deadline = Time.now + 5
    connection.create_channel.queue_declare(queue, passive: true) while Time.now < deadline
  end
end

test "redeclare-errors" do |s|
  connection = s.connection
  channel = connection.create_channel
  limit = { "x-max-length" => 10 }
  queue = s.queue(channel, durable: true, arguments: limit)
  exchange = s.exchange(channel, "fanout").name
  connection.create_channel.queue_declare(queue, durable: true, arguments: limit)

  inequivalent = lambda do |arg, detail, **options|
    text = "PRECONDITION_FAILED - inequivalent arg '#{arg}' for queue '#{queue}' in vhost '#{VHOST}': #{detail}"
    expect_channel_error(406, text) { connection.create_channel.queue_declare(queue, **options) }
  end
  inequivalent.call("durable", "received 'false' but current is 'true'", durable: false, arguments: limit)
  inequivalent.call("auto_delete", "received 'true' but current is 'false'",
                    durable: true, auto_delete: true, arguments: limit)
  inequivalent.call("x-max-length", "received '20' but current is '10'",
                    durable: true, arguments: { "x-max-length" => 20 })
  # Bunny sends every whole number as a 64-bit one.
  inequivalent.call("x-max-length", "received none but current is the value '10' of type 'long'", durable: true)

  text = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '#{exchange}' in vhost '#{VHOST}': " \
         "received 'direct' but current is 'fanout'"
  expect_channel_error(406, text) { connection.create_channel.exchange_declare(exchange, "direct") }
  missing = unique("missing")
  expect_channel_error(404, "NOT_FOUND - no queue '#{missing}' in vhost '#{VHOST}'") do
    connection.create_channel.queue_declare(missing, passive: true)
  end
  expect_channel_error(404, "NOT_FOUND - no exchange '#{missing}' in vhost '#{VHOST}'") do
    connection.create_channel.exchange_declare(missing, "direct", passive: true)
  end
end

test "reconnect-after-restart", 150 do |s|
  errors = Errors.new
  plain = s.connection(session_error_handler: errors, recover_from_connection_close: false)
  channel = plain.create_channel
  queue = s.queue(channel, durable: true)
  exchange = s.exchange(channel, "direct", durable: true).name
  channel.queue_bind(queue, exchange, routing_key: "key")

  # This one recovers by itself, with its consumer.
  recovering = s.connection(automatically_recover: true, network_recovery_interval: 0.2)
  incoming, = consume(recovering.create_channel, queue, manual_ack: false)

  broker("restart")
  error = receive(errors, "the connection to be closed")
  expect([error.class, error.connection_close.reply_code], [Bunny::ConnectionForced, 320], "error")
  expect(error.connection_close.reply_text[/\A\w+/], "CONNECTION_FORCED", "reply text")

  channel = s.reconnected.create_channel
  channel.queue_declare(queue, passive: true)
  channel.exchange_declare(exchange, "direct", passive: true)
  channel.basic_publish("through the binding", exchange, "key")
  message = receive(incoming, "the recovered consumer's message", seconds: 60)
  expect(message.body, "through the binding", "message")
end

test "body-10-mib" do |s|
  channel = s.channel
  queue = s.queue(channel)
  body = Random.bytes(10 << 20)
  channel.default_exchange.publish(body, routing_key: queue)
  received, = bodies(channel, queue, 1)
  expect(received.bytesize, body.bytesize, "length of the body")
  expect(received.b == body, true, "the body came back the same")
end

test "channels-2000", 180 do |s|
  connection = s.connection
  channels = Array.new(2000) { connection.create_channel }
  queue = s.queue(channels.first)
  channels.each_with_index { |channel, number| channel.default_exchange.publish(number.to_s, routing_key: queue) }
  numbers = bodies(channels.last, queue, 2000).map(&:to_i)
  expect(numbers.sort == (0...2000).to_a, true, "a message came from every channel")
  expect(channels.count(&:open?), 2000, "open channels")
end

test "heartbeat-timeout", 90 do |s|
  errors = Errors.new
  s.connection(heartbeat: 2, session_error_handler: errors).create_channel
  broker("pause")
  begin
    error = receive(errors, "the heartbeats to be missed", seconds: 30)
  ensure
    broker("resume")
  end
  expect(error.is_a?(Bunny::NetworkFailure), true, "#{error.inspect} is a network failure")

  channel = s.reconnected.create_channel
  queue = s.queue(channel)
  channel.default_exchange.publish("alive", routing_key: queue)
  expect(bodies(channel, queue, 1), ["alive"], "message after the pause")
end

run_cases
