package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const replyDeadline = 10 * time.Second

// broker is the broker under test, as the environment describes it.
var broker struct {
	host, port, user, pass, vhost, ctl string
}

func loadBroker() error {
	for name, field := range map[string]*string{
		"AMQP_HOST":  &broker.host,
		"AMQP_PORT":  &broker.port,
		"AMQP_USER":  &broker.user,
		"AMQP_PASS":  &broker.pass,
		"AMQP_VHOST": &broker.vhost,
		"BROKER_CTL": &broker.ctl,
	} {
		*field = os.Getenv(name)
		if *field == "" {
			return fmt.Errorf("%s is not set", name)
		}
	}
	return nil
}

func dial(config amqp.Config) (*amqp.Connection, error) {
	config.Vhost = broker.vhost
	config.SASL = []amqp.Authentication{
		&amqp.PlainAuth{Username: broker.user, Password: broker.pass},
	}
	if config.Heartbeat == 0 {
		config.Heartbeat = 30 * time.Second
	}
	return amqp.DialConfig("amqp://"+net.JoinHostPort(broker.host, broker.port), config)
}

var serial int

// T is what one case opens and declares; all of it is removed when the case
// ends. Its fatal methods end the goroutine they are called on.
type T struct {
	failure string

	mu          sync.Mutex
	connections []*amqp.Connection
	queues      []string
	exchanges   []string
	atEnd       []func() error
}

func (t *T) fatalf(format string, args ...any) {
	t.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// check ends the case if err is not nil.
func (t *T) check(err error) {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		t.fatalf("%v (%s:%d)", err, file[lastSlash(file)+1:], line)
	}
}

// equal ends the case unless got and want are the same.
func (t *T) equal(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		t.fatalf("%s: got %#v, want %#v", what, got, want)
	}
}

func lastSlash(path string) int {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return i
		}
	}
	return -1
}

func (t *T) name(label string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	serial++
	return fmt.Sprintf("leveret.go.%d.%d.%s", os.Getpid(), serial, label)
}

func (t *T) queueName(label string) string {
	name := t.name(label)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queues = append(t.queues, name)
	return name
}

func (t *T) exchangeName(label string) string {
	name := t.name(label)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exchanges = append(t.exchanges, name)
	return name
}

// onEnd registers what is to be done when the case ends, whatever its outcome.
func (t *T) onEnd(action func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.atEnd = append(t.atEnd, action)
}

func (t *T) connect() *amqp.Connection {
	return t.connectWith(amqp.Config{})
}

func (t *T) connectWith(config amqp.Config) *amqp.Connection {
	connection, err := dial(config)
	t.check(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.connections = append(t.connections, connection)
	return connection
}

func (t *T) channel(connection *amqp.Connection) *amqp.Channel {
	channel, err := connection.Channel()
	t.check(err)
	return channel
}

func (t *T) confirmChannel(connection *amqp.Connection) *amqp.Channel {
	channel := t.channel(connection)
	t.check(channel.Confirm(false))
	return channel
}

// cleanUp undoes what the case did; s receives the failures of the clean-up.
func (t *T) cleanUp(s *T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.atEnd) - 1; i >= 0; i-- {
		s.check(t.atEnd[i]())
	}
	for _, connection := range t.connections {
		err := connection.CloseDeadline(time.Now().Add(5 * time.Second))
		if err != nil && !errors.Is(err, amqp.ErrClosed) {
			fmt.Fprintln(os.Stderr, "closing a connection:", err)
		}
	}
	if len(t.queues)+len(t.exchanges) == 0 {
		return
	}
	connection, err := dial(amqp.Config{})
	s.check(err)
	defer connection.Close()
	channel := s.channel(connection)
	for _, queue := range t.queues {
		_, err := channel.QueueDelete(queue, false, false, false)
		s.check(err)
	}
	for _, exchange := range t.exchanges {
		s.check(channel.ExchangeDelete(exchange, false, false))
	}
}

// receive takes one value from c, and ends the case if none comes.
func receive[V any](t *T, what string, c <-chan V) V {
	return receiveWithin(t, what, c, replyDeadline)
}

func receiveWithin[V any](t *T, what string, c <-chan V, limit time.Duration) V {
	select {
	case value, open := <-c:
		if !open {
			t.fatalf("%s: the Go channel was closed", what)
		}
		return value
	case <-time.After(limit):
		t.fatalf("%s: nothing within %v", what, limit)
	}
	panic("unreachable")
}

// until calls probe until it answers true, and ends the case if it never does.
func (t *T) until(what string, probe func() bool) {
	deadline := time.Now().Add(replyDeadline)
	for !probe() {
		if time.Now().After(deadline) {
			t.fatalf("%s: not so within %v", what, replyDeadline)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (t *T) publish(channel *amqp.Channel, exchange, key, body string) {
	t.publishMessage(channel, exchange, key, amqp.Publishing{Body: []byte(body)})
}

func (t *T) publishMessage(channel *amqp.Channel, exchange, key string, msg amqp.Publishing) {
	t.check(channel.PublishWithContext(context.Background(), exchange, key, false, false, msg))
}

// publishConfirmed publishes and waits until the broker has confirmed.
func (t *T) publishConfirmed(channel *amqp.Channel, exchange, key string, mandatory bool, msg amqp.Publishing) {
	ctx, cancel := context.WithTimeout(context.Background(), replyDeadline)
	defer cancel()
	confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, mandatory, false, msg)
	t.check(err)
	acked, err := confirm.WaitContext(ctx)
	t.check(err)
	if !acked {
		t.fatalf("the broker nacked message %d", confirm.DeliveryTag)
	}
}

func (t *T) consume(channel *amqp.Channel, queue, tag string, autoAck bool) <-chan amqp.Delivery {
	deliveries, err := channel.Consume(queue, tag, autoAck, false, false, false, nil)
	t.check(err)
	return deliveries
}

func (t *T) get(channel *amqp.Channel, queue string, autoAck bool) amqp.Delivery {
	delivery, ok, err := channel.Get(queue, autoAck)
	t.check(err)
	if !ok {
		t.fatalf("basic.get found %s empty", queue)
	}
	return delivery
}

// inspect declares the queue passively.
func (t *T) inspect(channel *amqp.Channel, queue string) amqp.Queue {
	state, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
	t.check(err)
	return state
}

// ready is the number of messages in the queue that are ready for delivery.
func (t *T) ready(channel *amqp.Channel, queue string) int {
	return t.inspect(channel, queue).Messages
}

func (t *T) transientQueue(channel *amqp.Channel, name string) {
	_, err := channel.QueueDeclare(name, false, false, false, false, nil)
	t.check(err)
}

// serverNamedQueue declares an exclusive queue whose name the broker chooses.
func (t *T) serverNamedQueue(channel *amqp.Channel) string {
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	t.check(err)
	return queue.Name
}

// refusal is what the broker closes a channel with.
type refusal struct {
	code int
	text string
}

// refused runs an operation that the broker must refuse, on a fresh channel.
func (t *T) refused(connection *amqp.Connection, operation func(*amqp.Channel) error) refusal {
	channel := t.channel(connection)
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	err := operation(channel)
	var failure *amqp.Error
	if !errors.As(err, &failure) {
		t.fatalf("the operation ended with %v, not with an error of the broker", err)
	}
	notified := receive(t, "channel.close", closed)
	t.equal("the error of the channel", *notified, *failure)
	return refusal{failure.Code, failure.Reason}
}

// gone reports whether a passive declare of the queue answers 404.
func (t *T) gone(connection *amqp.Connection, queue string) bool {
	channel := t.channel(connection)
	_, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
	if err == nil {
		t.check(channel.Close())
		return false
	}
	var failure *amqp.Error
	if !errors.As(err, &failure) || failure.Code != amqp.NotFound {
		t.fatalf("a passive declare ended with %v", err)
	}
	return true
}

func brokerCtl(command string) error {
	output, err := exec.Command(broker.ctl, command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", broker.ctl, command, err, output)
	}
	return nil
}
