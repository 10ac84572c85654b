package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"sort"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	end            = "end"
	directReplyTo  = "amq.rabbitmq.reply-to"
	manyChannels   = 2000
	mib            = 1024 * 1024
	heartbeat      = time.Second
	generatedQueue = "amq.gen-"
)

var cases = []testCase{
	{name: "tutorial-1-hello-world", body: helloWorld},
	{name: "tutorial-2-work-queues", body: workQueues},
	{name: "tutorial-3-publish-subscribe", body: publishSubscribe},
	{name: "tutorial-4-routing", body: routing},
	{name: "tutorial-5-topics", body: topics},
	{name: "tutorial-6-rpc", body: rpc},
	{name: "tutorial-7-confirms-one-by-one", body: confirmsOneByOne},
	{name: "tutorial-7-confirms-batch", body: confirmsBatch},
	{name: "tutorial-7-confirms-asynchronous", body: confirmsAsynchronous},
	{name: "mandatory-return", body: mandatoryReturn},
	{name: "nack-requeue", body: nackRequeue},
	{name: "prefetch-fairness", body: prefetchFairness},
	{name: "exclusive-queue", body: exclusiveQueue},
	{name: "auto-delete-queue", body: autoDeleteQueue},
	{name: "redeclare-errors", body: redeclareErrors},
	{name: "reconnect-after-restart", limit: 90 * time.Second, body: reconnectAfterRestart},
	{name: "body-10-mib", limit: 60 * time.Second, body: bigBody},
	{name: "channels-2000", limit: 60 * time.Second, body: channels2000},
	{name: "heartbeat-timeout", limit: 40 * time.Second, body: heartbeatTimeout},
}

func helloWorld(t *T) {
	queue := t.queueName("hello")
	channel := t.channel(t.connect())
	declared, err := channel.QueueDeclare(queue, false, false, false, false, nil)
	t.check(err)
	t.equal("declare-ok", declared, amqp.Queue{Name: queue})

	t.publish(channel, "", queue, "Hello World!")
	message := receive(t, "message", t.consume(channel, queue, "hello", true))
	t.equal("body", string(message.Body), "Hello World!")
	t.equal("exchange", message.Exchange, "")
	t.equal("routing key", message.RoutingKey, queue)
	t.equal("redelivered", message.Redelivered, false)
	t.equal("delivery tag", message.DeliveryTag, uint64(1))
	t.equal("consumer tag", message.ConsumerTag, "hello")
	t.equal("queue", t.inspect(channel, queue), amqp.Queue{Name: queue, Consumers: 1})
}

func workQueues(t *T) {
	const tasks, workers = 8, 2
	queue := t.queueName("task_queue")
	connection := t.connect()
	producer := t.channel(connection)
	_, err := producer.QueueDeclare(queue, true, false, false, false, nil)
	t.check(err)
	var sent, done []string
	for i := 0; i < tasks; i++ {
		body := fmt.Sprintf("task %d", i)
		sent = append(sent, body)
		t.publishMessage(producer, "", queue, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         []byte(body),
		})
	}

	var channels [workers]*amqp.Channel
	var inboxes [workers]<-chan amqp.Delivery
	for i := range channels {
		channels[i] = t.channel(connection)
		t.check(channels[i].Qos(1, 0, false))
		inboxes[i] = t.consume(channels[i], queue, "", false)
	}
	for left := tasks - workers; left >= 0; left -= workers {
		var held [workers]amqp.Delivery
		for i, inbox := range inboxes {
			held[i] = receive(t, "task", inbox)
		}
		t.equal("tasks left while each worker holds one", t.ready(producer, queue), left)
		for _, message := range held {
			t.equal("delivery mode", message.DeliveryMode, amqp.Persistent)
			done = append(done, string(message.Body))
			t.check(message.Ack(false))
		}
	}
	sort.Strings(done)
	t.equal("tasks done", done, sent)

	for _, channel := range channels {
		t.check(channel.Close())
	}
	t.equal("tasks that came back", t.ready(producer, queue), 0)
}

func publishSubscribe(t *T) {
	logs := t.exchangeName("logs")
	channel := t.channel(t.connect())
	t.check(channel.ExchangeDeclare(logs, amqp.ExchangeFanout, false, false, false, false, nil))
	var queues [2]string
	var inboxes [2]<-chan amqp.Delivery
	for i := range queues {
		queues[i] = t.serverNamedQueue(channel)
		if !strings.HasPrefix(queues[i], generatedQueue) || queues[i] == generatedQueue {
			t.fatalf("the broker named a queue %q", queues[i])
		}
		t.check(channel.QueueBind(queues[i], "", logs, false, nil))
		inboxes[i] = t.consume(channel, queues[i], "", true)
	}
	if queues[0] == queues[1] {
		t.fatalf("the broker gave two queues the name %s", queues[0])
	}

	t.publish(channel, logs, "any key", "to both")
	for _, inbox := range inboxes {
		t.equal("body", string(receive(t, "log", inbox).Body), "to both")
	}
	t.check(channel.QueueUnbind(queues[1], "", logs, nil))
	t.publish(channel, logs, "", "to the first")
	t.publish(channel, "", queues[1], "straight to the second")
	t.equal("first", string(receive(t, "log", inboxes[0]).Body), "to the first")
	t.equal("second", string(receive(t, "log", inboxes[1]).Body), "straight to the second")
}

// route binds one queue per list of patterns, publishes to every key and
// compares what arrives where.
func route(t *T, kind string, bindings [][]string, keys []string, want [][]string) {
	exchange := t.exchangeName(kind)
	channel := t.channel(t.connect())
	t.check(channel.ExchangeDeclare(exchange, kind, false, false, false, false, nil))
	var queues []string
	var inboxes []<-chan amqp.Delivery
	for _, patterns := range bindings {
		queue := t.serverNamedQueue(channel)
		for _, pattern := range patterns {
			t.check(channel.QueueBind(queue, pattern, exchange, false, nil))
		}
		queues = append(queues, queue)
		inboxes = append(inboxes, t.consume(channel, queue, "", true))
	}
	for _, key := range keys {
		t.publish(channel, exchange, key, key)
	}
	for _, queue := range queues {
		t.publish(channel, "", queue, end)
	}
	for i, inbox := range inboxes {
		var got []string
		for {
			body := string(receive(t, "message", inbox).Body)
			if body == end {
				break
			}
			got = append(got, body)
		}
		t.equal(fmt.Sprintf("routed by %v", bindings[i]), got, want[i])
	}
}

func routing(t *T) {
	route(t, amqp.ExchangeDirect,
		[][]string{{"error"}, {"info", "warning", "error"}},
		[]string{"info", "debug", "error", "warning", "error.disk"},
		[][]string{{"error"}, {"info", "error", "warning"}})
}

func topics(t *T) {
	keys := []string{
		"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.brown.fox",
		"lazy.pink.rabbit", "quick.brown.fox", "orange", "quick.orange.new.rabbit",
		"lazy.orange.new.rabbit", "lazy",
	}
	route(t, amqp.ExchangeTopic,
		[][]string{{"*.orange.*"}, {"*.*.rabbit", "lazy.#"}, {"#"}},
		keys,
		[][]string{
			{"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"},
			{
				"quick.orange.rabbit", "lazy.orange.elephant", "lazy.brown.fox",
				"lazy.pink.rabbit", "lazy.orange.new.rabbit", "lazy",
			},
			keys,
		})
}

func factorial(n int64) string {
	return new(big.Int).MulRange(1, n).String()
}

// serveFactorials answers every request in the queue, and reports the reply
// address of each. It ends when its channel closes.
func serveFactorials(t *T, connection *amqp.Connection, queue string) <-chan string {
	channel := t.channel(connection)
	t.transientQueue(channel, queue)
	t.check(channel.Qos(1, 0, false))
	requests := t.consume(channel, queue, "", false)
	addresses := make(chan string, 100)
	go func() {
		for request := range requests {
			addresses <- request.ReplyTo
			var n int64
			if _, err := fmt.Sscan(string(request.Body), &n); err != nil {
				return
			}
			reply := amqp.Publishing{
				CorrelationId: request.CorrelationId,
				Body:          []byte(factorial(n)),
			}
			err := channel.PublishWithContext(context.Background(), "", request.ReplyTo, false, false, reply)
			if err != nil || request.Ack(false) != nil {
				return
			}
		}
	}()
	return addresses
}

// callFactorials makes three calls and returns the reply address the server saw.
func callFactorials(t *T, channel *amqp.Channel, queue, replyTo string, addresses <-chan string) string {
	replies := t.consume(channel, replyTo, "", true)
	calls := map[string]int64{}
	for _, n := range []int64{30, 7, 0} {
		id := fmt.Sprintf("call-%s-%d", replyTo, n)
		calls[id] = n
		t.publishMessage(channel, "", queue, amqp.Publishing{
			CorrelationId: id,
			ReplyTo:       replyTo,
			Body:          []byte(fmt.Sprint(n)),
		})
	}
	seen := map[string]bool{}
	for len(calls) > 0 {
		reply := receive(t, "RPC reply", replies)
		n, known := calls[reply.CorrelationId]
		if !known {
			t.fatalf("a reply with the unknown correlation id %q", reply.CorrelationId)
		}
		delete(calls, reply.CorrelationId)
		t.equal("result", string(reply.Body), factorial(n))
		seen[receive(t, "reply address", addresses)] = true
	}
	t.equal("number of reply addresses", len(seen), 1)
	for address := range seen {
		return address
	}
	panic("unreachable")
}

func rpc(t *T) {
	queue := t.queueName("rpc_queue")
	addresses := serveFactorials(t, t.connect(), queue)
	connection := t.connect()
	channel := t.channel(connection)
	callback := t.serverNamedQueue(channel)
	t.equal("reply-to", callFactorials(t, channel, queue, callback, addresses), callback)

	address := callFactorials(t, channel, queue, directReplyTo, addresses)
	if !strings.HasPrefix(address, directReplyTo+".") {
		t.fatalf("the server saw the reply address %q", address)
	}
	t.equal("a reply consumer that acknowledges",
		t.refused(connection, func(ch *amqp.Channel) error {
			_, err := ch.Consume(directReplyTo, "", false, false, false, false, nil)
			return err
		}),
		refusal{amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer cannot acknowledge"})

	orphan := t.channel(connection)
	closed := orphan.NotifyClose(make(chan *amqp.Error, 1))
	t.publishMessage(orphan, "", queue, amqp.Publishing{ReplyTo: directReplyTo, Body: []byte("1")})
	failure := receive(t, "channel.close", closed)
	t.equal("a call without a reply consumer", refusal{failure.Code, failure.Reason},
		refusal{amqp.PreconditionFailed, "PRECONDITION_FAILED - fast reply consumer does not exist"})
}

func confirmsOneByOne(t *T) {
	queue := t.queueName("confirms")
	channel := t.confirmChannel(t.connect())
	_, err := channel.QueueDeclare(queue, true, false, false, false, nil)
	t.check(err)
	for i := 1; i <= 20; i++ {
		t.equal("next sequence number", channel.GetNextPublishSeqNo(), uint64(i))
		t.publishConfirmed(channel, "", queue, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         []byte("one"),
		})
		t.equal("messages", t.ready(channel, queue), i)
	}
}

func confirmsBatch(t *T) {
	queue := t.queueName("confirms")
	channel := t.confirmChannel(t.connect())
	t.transientQueue(channel, queue)
	ctx, cancel := context.WithTimeout(context.Background(), 2*replyDeadline)
	defer cancel()
	for sent := 0; sent < 500; sent += 100 {
		var batch []*amqp.DeferredConfirmation
		for i := 0; i < 100; i++ {
			confirm, err := channel.PublishWithDeferredConfirmWithContext(
				ctx, "", queue, false, false, amqp.Publishing{Body: []byte("batch")})
			t.check(err)
			batch = append(batch, confirm)
		}
		for _, confirm := range batch {
			acked, err := confirm.WaitContext(ctx)
			t.check(err)
			t.equal("acked", acked, true)
		}
		t.equal("messages", t.ready(channel, queue), sent+100)
	}
}

func confirmsAsynchronous(t *T) {
	const messages = 1000
	queue := t.queueName("confirms")
	channel := t.confirmChannel(t.connect())
	t.transientQueue(channel, queue)
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, messages))
	for i := 0; i < messages; i++ {
		t.publish(channel, "", queue, "async")
	}
	for tag := uint64(1); tag <= messages; tag++ {
		t.equal("confirm", receive(t, "confirm", confirms), amqp.Confirmation{DeliveryTag: tag, Ack: true})
	}
	t.equal("messages", t.ready(channel, queue), messages)
}

func mandatoryReturn(t *T) {
	queue := t.queueName("routable")
	exchange := t.exchangeName("direct")
	channel := t.confirmChannel(t.connect())
	returns := channel.NotifyReturn(make(chan amqp.Return, 10))
	t.transientQueue(channel, queue)
	t.check(channel.ExchangeDeclare(exchange, amqp.ExchangeDirect, false, false, false, false, nil))
	t.check(channel.QueueBind(queue, "known", exchange, false, nil))

	t.publishConfirmed(channel, exchange, "unknown", true, amqp.Publishing{
		MessageId: "m-1",
		Headers:   amqp.Table{"attempt": int32(1)},
		Body:      []byte("lost?"),
	})
	// The return precedes the confirm, so it is there once the confirm is.
	t.equal("returns at the confirm", len(returns), 1)
	returned := <-returns
	t.equal("reply code", int(returned.ReplyCode), amqp.NoRoute)
	t.equal("reply text", returned.ReplyText, "NO_ROUTE")
	t.equal("exchange", returned.Exchange, exchange)
	t.equal("routing key", returned.RoutingKey, "unknown")
	t.equal("message id", returned.MessageId, "m-1")
	t.equal("headers", returned.Headers, amqp.Table{"attempt": int32(1)})
	t.equal("body", string(returned.Body), "lost?")

	t.publishConfirmed(channel, exchange, "known", true, amqp.Publishing{Body: []byte("routed")})
	t.publishConfirmed(channel, exchange, "unknown", false, amqp.Publishing{Body: []byte("dropped")})
	t.equal("messages", t.ready(channel, queue), 1)
	t.equal("further returns", len(returns), 0)
}

// arrival is what the redelivery cases compare of a message.
type arrival struct {
	body        string
	redelivered bool
}

func arrivalOf(d amqp.Delivery) arrival {
	return arrival{string(d.Body), d.Redelivered}
}

func nackRequeue(t *T) {
	queue := t.queueName("nack")
	channel := t.channel(t.connect())
	t.transientQueue(channel, queue)
	for _, body := range []string{"a", "b", "c"} {
		t.publish(channel, "", queue, body)
	}

	first := t.get(channel, queue, false)
	t.equal("first", arrivalOf(first), arrival{"a", false})
	t.equal("messages left", first.MessageCount, uint32(2))
	t.equal("second", arrivalOf(t.get(channel, queue, false)), arrival{"b", false})
	t.check(first.Nack(false, true))
	again := t.get(channel, queue, false)
	t.equal("requeued in place", arrivalOf(again), arrival{"a", true})
	t.check(again.Nack(true, true))

	t.check(channel.Qos(3, 0, false))
	inbox := t.consume(channel, queue, "nacker", false)
	var held []amqp.Delivery
	for _, want := range []arrival{{"a", true}, {"b", true}, {"c", false}} {
		message := receive(t, "message", inbox)
		t.equal("after a multiple nack", arrivalOf(message), want)
		held = append(held, message)
	}
	t.check(held[0].Reject(true))
	redelivered := receive(t, "rejected message", inbox)
	t.equal("after a reject", arrivalOf(redelivered), arrival{"a", true})
	t.check(held[1].Nack(false, false))
	t.check(held[2].Ack(false))
	t.check(redelivered.Ack(false))
	t.check(channel.Cancel("nacker", false))
	t.equal("messages", t.ready(channel, queue), 0)
}

func prefetchFairness(t *T) {
	queue := t.queueName("fair")
	connection := t.connect()
	slow, fast, producer := t.channel(connection), t.channel(connection), t.channel(connection)
	t.transientQueue(producer, queue)
	t.check(slow.Qos(1, 0, false))
	t.check(fast.Qos(1, 0, false))
	slowInbox := t.consume(slow, queue, "slow", false)
	fastInbox := t.consume(fast, queue, "fast", false)
	for i := 0; i < 20; i++ {
		t.publish(producer, "", queue, fmt.Sprint(i))
	}

	held := receive(t, "message for the slow consumer", slowInbox)
	bodies := map[string]bool{string(held.Body): true}
	for i := 0; i < 19; i++ {
		message := receive(t, "message for the fast consumer", fastInbox)
		bodies[string(message.Body)] = true
		t.check(message.Ack(false))
	}
	t.equal("different messages", len(bodies), 20)
	t.check(held.Ack(false))
	t.check(slow.Cancel("slow", false))
	t.check(fast.Cancel("fast", false))

	for i := 0; i < 12; i++ {
		t.publish(producer, "", queue, fmt.Sprint(i))
	}
	t.until("12 messages ready", func() bool { return t.ready(producer, queue) == 12 })
	window := t.channel(connection)
	t.check(window.Qos(5, 0, false))
	inbox := t.consume(window, queue, "", false)
	var taken []amqp.Delivery
	for i := 0; i < 5; i++ {
		taken = append(taken, receive(t, "message", inbox))
	}
	t.equal("messages left at prefetch 5", t.ready(producer, queue), 7)
	t.check(taken[1].Ack(true))
	receive(t, "message", inbox)
	receive(t, "message", inbox)
	t.equal("messages left after two acks", t.ready(producer, queue), 5)
}

func exclusiveQueue(t *T) {
	queue := t.queueName("exclusive")
	owner, other := t.connect(), t.connect()
	channel := t.channel(owner)
	for i := 0; i < 2; i++ {
		_, err := channel.QueueDeclare(queue, false, false, true, false, nil)
		t.check(err)
	}

	locked := refusal{amqp.ResourceLocked, fmt.Sprintf(
		"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '%s'. "+
			"It could be originally declared on another connection or the exclusive property "+
			"value does not match that of the original declaration.", queue, broker.vhost)}
	t.equal("passive declare", t.refused(other, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
		return err
	}), locked)
	t.equal("declare", t.refused(other, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, false, false, true, false, nil)
		return err
	}), locked)
	t.equal("consume", t.refused(other, func(ch *amqp.Channel) error {
		_, err := ch.Consume(queue, "", true, false, false, false, nil)
		return err
	}), locked)

	t.check(owner.Close())
	t.until("the queue is deleted with its connection", func() bool { return t.gone(other, queue) })
}

func autoDeleteQueue(t *T) {
	queue := t.queueName("auto_delete")
	connection := t.connect()
	channel := t.channel(connection)
	_, err := channel.QueueDeclare(queue, false, true, false, false, nil)
	t.check(err)
	t.equal("gone before it was used", t.gone(connection, queue), false)

	t.consume(channel, queue, "first", false)
	t.consume(channel, queue, "second", false)
	t.check(channel.Cancel("first", false))
	t.equal("consumers", t.inspect(channel, queue).Consumers, 1)
	t.check(channel.Cancel("second", false))
	t.until("the queue is deleted", func() bool { return t.gone(connection, queue) })
}

func redeclareErrors(t *T) {
	queue, limited := t.queueName("queue"), t.queueName("limited")
	exchange, missing := t.exchangeName("exchange"), t.name("missing")
	connection := t.connect()
	channel := t.channel(connection)

	declareQueue := func(name string, durable, autoDelete bool, args amqp.Table) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, durable, autoDelete, false, false, args)
			return err
		}
	}
	declareExchange := func(kind string, durable bool) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(exchange, kind, durable, false, false, false, nil)
		}
	}
	for _, same := range []func(*amqp.Channel) error{
		declareQueue(queue, true, false, nil),
		declareQueue(queue, true, false, nil),
		declareQueue(limited, true, false, amqp.Table{"x-max-length": int32(10)}),
		declareQueue(limited, true, false, amqp.Table{"x-max-length": int64(10)}),
		declareExchange("direct", true),
		declareExchange("direct", true),
	} {
		t.check(same(channel))
	}

	inequivalent := func(arg, kind, name, received, current string) refusal {
		return refusal{amqp.PreconditionFailed, fmt.Sprintf(
			"PRECONDITION_FAILED - inequivalent arg '%s' for %s '%s' in vhost '%s': "+
				"received %s but current is %s", arg, kind, name, broker.vhost, received, current)}
	}
	notFound := func(kind string) refusal {
		return refusal{amqp.NotFound, fmt.Sprintf(
			"NOT_FOUND - no %s '%s' in vhost '%s'", kind, missing, broker.vhost)}
	}
	for _, c := range []struct {
		what      string
		operation func(*amqp.Channel) error
		want      refusal
	}{
		{"not durable", declareQueue(queue, false, false, nil),
			inequivalent("durable", "queue", queue, "'false'", "'true'")},
		{"auto-delete", declareQueue(queue, true, true, nil),
			inequivalent("auto_delete", "queue", queue, "'true'", "'false'")},
		{"without x-max-length", declareQueue(limited, true, false, nil),
			inequivalent("x-max-length", "queue", limited, "none", "the value '10' of type 'signedint'")},
		{"with x-max-length", declareQueue(limited, true, false, amqp.Table{"x-max-length": int32(11)}),
			inequivalent("x-max-length", "queue", limited, "'11'", "'10'")},
		{"fanout", declareExchange("fanout", true),
			inequivalent("type", "exchange", exchange, "'fanout'", "'direct'")},
		{"exchange not durable", declareExchange("direct", false),
			inequivalent("durable", "exchange", exchange, "'false'", "'true'")},
		{"passive queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(missing, false, false, false, false, nil)
			return err
		}, notFound("queue")},
		{"passive exchange", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(missing, "direct", false, false, false, false, nil)
		}, notFound("exchange")},
		{"reserved name", declareQueue("amq.mine", false, false, nil), refusal{amqp.AccessRefused,
			"ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"}},
	} {
		t.equal(c.what, t.refused(connection, c.operation), c.want)
	}

	publisher := t.channel(connection)
	closed := publisher.NotifyClose(make(chan *amqp.Error, 1))
	t.publish(publisher, missing, "key", "nowhere")
	failure := receive(t, "channel.close", closed)
	t.equal("publish", refusal{failure.Code, failure.Reason}, notFound("exchange"))

	t.equal("other channels stay usable", t.inspect(channel, queue).Name, queue)
}

func reconnectAfterRestart(t *T) {
	queue, exchange := t.queueName("durable"), t.exchangeName("durable")
	setup := t.connect()
	channel := t.channel(setup)
	t.check(channel.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, false, false, false, nil))
	_, err := channel.QueueDeclare(queue, true, false, false, false, nil)
	t.check(err)
	t.check(channel.QueueBind(queue, "key", exchange, false, nil))
	closed := setup.NotifyClose(make(chan *amqp.Error, 1))

	// The recovering connection declares nothing durable, so what it finds
	// after the restart is what the broker kept.
	recovering := t.connectWith(amqp.Config{Recovery: &amqp.Recovery{
		ReconnectionConfig: &amqp.ReconnectionConfig{MaxRetryCount: 300, RetryInterval: 100 * time.Millisecond},
	}})
	states := make(chan *amqp.StateChanged, 10)
	recovering.NotifyStateChange(states)
	consumer := t.channel(recovering)
	inbox := t.consume(consumer, queue, "survivor", true)

	t.check(brokerCtl("restart"))
	reason := receive(t, "connection.close", closed)
	t.equal("close code", reason.Code, amqp.ConnectionForced)
	if !strings.HasPrefix(reason.Reason, "CONNECTION_FORCED") {
		t.fatalf("the connection was closed with %q", reason.Reason)
	}
	t.equal("state", receive(t, "state", states).To, amqp.StateReconnecting)
	t.equal("state", receiveWithin(t, "state", states, 30*time.Second).To, amqp.StateOpen)

	producer := t.confirmChannel(recovering)
	t.check(producer.ExchangeDeclarePassive(exchange, amqp.ExchangeDirect, true, false, false, false, nil))
	t.publishConfirmed(producer, exchange, "key", true, amqp.Publishing{Body: []byte("after")})
	message := receive(t, "message for the recovered consumer", inbox)
	t.equal("message", string(message.Body), "after")
	t.equal("consumer tag", message.ConsumerTag, "survivor")
}

func bigBody(t *T) {
	queue := t.queueName("big")
	connection := t.connect()
	channel := t.confirmChannel(connection)
	t.transientQueue(channel, queue)
	payload := connection.Config.FrameSize - 8
	inbox := t.consume(channel, queue, "", false)
	for _, size := range []int{0, 1, payload, payload + 1, 2 * payload, 10 * mib} {
		body := make([]byte, size)
		_, err := rand.Read(body)
		t.check(err)
		t.publishConfirmed(channel, "", queue, false, amqp.Publishing{
			ContentType: "application/octet-stream",
			Body:        body,
		})
		message := receiveWithin(t, fmt.Sprintf("body of %d bytes", size), inbox, 20*time.Second)
		t.equal("size", len(message.Body), size)
		if !bytes.Equal(message.Body, body) {
			t.fatalf("the body of %d bytes differs", size)
		}
		t.equal("content type", message.ContentType, "application/octet-stream")
		t.check(message.Ack(false))
	}
}

func channels2000(t *T) {
	queue := t.queueName("channels")
	connection := t.connect()
	channels := make([]*amqp.Channel, manyChannels)
	for i := range channels {
		channels[i] = t.channel(connection)
	}
	t.transientQueue(channels[0], queue)
	for i, channel := range channels {
		t.publish(channel, "", queue, fmt.Sprint(i))
	}
	t.until("every message queued", func() bool { return t.ready(channels[0], queue) == manyChannels })
	bodies := map[string]bool{}
	for _, channel := range channels {
		bodies[string(t.get(channel, queue, true).Body)] = true
	}
	t.equal("different messages", len(bodies), manyChannels)
	for _, channel := range channels {
		t.check(channel.Close())
	}
}

func heartbeatTimeout(t *T) {
	queue := t.queueName("heartbeat")
	connection := t.connectWith(amqp.Config{Heartbeat: heartbeat})
	t.equal("negotiated heartbeat", connection.Config.Heartbeat, heartbeat)
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	t.channel(connection) // the client watches the silence after a frame
	select {
	case reason := <-closed:
		t.fatalf("an idle connection was closed: %v", reason)
	case <-time.After(5 * heartbeat):
		// The client gives up after three silent intervals, so it was not silent.
	}

	t.onEnd(func() error { return brokerCtl("resume") })
	paused := time.Now()
	t.check(brokerCtl("pause"))
	reason := receive(t, "heartbeat timeout", closed)
	if !strings.Contains(reason.Reason, "timeout") {
		t.fatalf("the connection was closed with %v", reason)
	}
	if silence := time.Since(paused); silence < heartbeat {
		t.fatalf("the client gave up after %v", silence)
	}

	t.check(brokerCtl("resume"))
	channel := t.confirmChannel(t.connectWith(amqp.Config{Heartbeat: heartbeat}))
	t.transientQueue(channel, queue)
	t.publishConfirmed(channel, "", queue, false, amqp.Publishing{Body: []byte("alive")})
	t.equal("message", string(t.get(channel, queue, true).Body), "alive")
}
