# Runs each case in a process of its own, with a deadline, and has what the cases share.

require "bunny"
require "logger"
require "securerandom"
require "timeout"

VHOST = ENV.fetch("AMQP_VHOST")
DEADLINE = 15 # seconds for a message or an event to come in

class Failed < StandardError; end

def unique(word)
  "clients.#{word}.#{SecureRandom.hex(6)}"
end

# restart, pause or resume the broker.
def broker(action)
  system(ENV.fetch("BROKER_CTL"), action) or raise Failed, "the broker did not #{action}"
end

def expect(actual, expected, what)
  raise Failed, "#{what}: got #{actual.inspect} instead of #{expected.inspect}" unless actual == expected
end

# The block must make the broker close its channel with this code and text (or one that matches it).
def expect_channel_error(code, text)
  yield
rescue Bunny::ChannelLevelException => e
  expect(e.channel_close.reply_code, code, "reply code")
  actual = e.channel_close.reply_text
  raise Failed, "reply text: got #{actual.inspect} instead of #{text.inspect}" unless text === actual
else
  raise Failed, "no error #{code}"
end

# What comes next from another thread.
def receive(queue, what, seconds: DEADLINE)
  Timeout.timeout(seconds) { queue.pop }
rescue Timeout::Error
  raise Failed, "waited #{seconds} s for #{what}"
end

def message_count(channel, queue)
  channel.queue_declare(queue, passive: true).message_count
end

Message = Struct.new(:info, :properties, :body)

# Consumes into a queue, which gives Messages.
def consume(channel, queue, manual_ack: true)
  incoming = ::Queue.new
  consumer = channel.queue(queue, no_declare: true).subscribe(manual_ack: manual_ack) do |info, properties, body|
    incoming << Message.new(info, properties, body)
  end
  [incoming, consumer]
end

# Consumes this many messages and acknowledges them.
def take(channel, queue, count)
  incoming, consumer = consume(channel, queue)
  messages = Array.new(count) do |i|
    message = receive(incoming, "message #{i}")
    channel.ack(message.info.delivery_tag)
    message
  end
  consumer.cancel
  messages
end

def bodies(channel, queue, count)
  take(channel, queue, count).map(&:body)
end

# Keeps the errors that a session reports, where Bunny would raise them in the thread that made the session.
class Errors < ::Queue
  def raise(error, *)
    self << error
  end
end

# The connections, queues and exchanges of one case, which are gone at its end.
class Scratch
  def initialize
    @connections = []
    @queues = []
    @exchanges = []
  end

  def connection(**options)
    connection = Bunny.new(
      host: ENV.fetch("AMQP_HOST"), port: ENV.fetch("AMQP_PORT").to_i, vhost: VHOST,
      user: ENV.fetch("AMQP_USER"), password: ENV.fetch("AMQP_PASS"),
      automatically_recover: false, logger: Logger.new(File::NULL), **options
    )
    connection.start
    @connections << connection
    connection
  end

  # A new connection, as soon as the broker takes one.
  def reconnected
    deadline = Time.now + 30
    begin
      connection
    rescue Bunny::Exception, SystemCallError
      raise if Time.now > deadline

      sleep 0.1
      retry
    end
  end

  # A channel on a connection of its own.
  def channel
    connection.create_channel
  end

  def queue(channel, **options)
    name = unique("queue")
    channel.queue(name, **options)
    @queues << name unless options[:exclusive]
    name
  end

  def exchange(channel, type, **options)
    exchange = channel.exchange(unique(type), type: type, **options)
    @exchanges << exchange.name
    exchange
  end

  def clean_up
    @connections.each { |connection| connection.close if connection.open? }
    return if @queues.empty? && @exchanges.empty?

    connection = self.connection
    channel = connection.create_channel
    @queues.each { |name| channel.queue_delete(name) }
    @exchanges.each { |name| channel.exchange_delete(name) }
    connection.close
  end
end

CASES = {}

def test(name, seconds = 60, &block)
  CASES[name] = [block, seconds]
end

# Gives the reason why the case failed, or nil.
def run_case(block, seconds)
  reader, writer = IO.pipe
  pid = fork do
    reader.close
    Thread.report_on_exception = false # lost connections are part of the cases
    scratch = Scratch.new
    begin
      block.call(scratch)
      scratch.clean_up
      writer.write("passed")
    rescue Exception => e # rubocop:disable Lint/RescueException
      warn e.full_message
      writer.write("failed #{e.class}: #{e.message.tr("\n", ' ')}")
      begin
        scratch.clean_up
      rescue StandardError
        nil # the failure itself says more than what it led to
      end
    end
    writer.close
    exit! # without waiting for the client's threads
  end
  writer.close
  answer = reader.wait_readable(seconds) ? reader.read_nonblock(2000, exception: false) : "failed no end after #{seconds} s"
  Process.kill(:KILL, pid) if answer.to_s.start_with?("failed no end")
  _, status = Process.wait2(pid)
  return if answer == "passed"

  answer ? answer.delete_prefix("failed ") : "the case's process ended with #{status}"
end

# Runs the cases named on the command line, or all of them.
def run_cases
  $stdout.sync = true
  puts "client bunny #{Bunny::VERSION}"
  names = ARGV.empty? ? CASES.keys : ARGV
  failed = names.select do |name|
    reason = run_case(*CASES.fetch(name))
    puts(reason ? "not ok #{name} - #{reason}" : "ok #{name}")
    # The case may have ended while the broker was paused.
    system(ENV.fetch("BROKER_CTL"), "resume") if reason && name == "heartbeat-timeout"
    reason
  end
  exit failed.empty?
end
