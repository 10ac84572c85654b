//! What is logged, and where to.

use std::path::PathBuf;

use super::super::value::{self, Expected};
use super::super::{LogFormat, SyslogProtocol, SyslogTransport};
use super::{Key, key, live, optional, set_text, without_effect};

pub const LOGGING: &[Key] = &[
    live(key(
        "log.default.level",
        "info",
        "The level of everything that has none of its own: debug, info, notice, warning, error, critical, alert, emergency or none.",
        |draft, _, text| value::level(text).map(|level| draft.config.log.default_level = level),
    )),
    live(optional("log.connection.level", "", "info", "The level of connections.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.connection_level = Some(level))
    })),
    live(optional("log.channel.level", "", "info", "The level of channels.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.channel_level = Some(level))
    })),
    live(optional("log.queue.level", "", "info", "The level of queues.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.queue_level = Some(level))
    })),
    key("log.console", "true", "Log to the standard output.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.log.console = on)
    }),
    key("log.console.stdio", "stdout", "Or to the standard error: stderr.", |draft, _, text| {
        let streams = [("stdout", false), ("stderr", true)];
        value::choice(text, &streams).map(|stderr| draft.config.log.console_stderr = stderr)
    }),
    live(optional("log.console.level", "", "info", "Write nothing below this level there.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.console_level = Some(level))
    })),
    key("log.console.formatter", "plaintext", "The form of a line: plaintext or json.", |draft, _, text| {
        format(text).map(|format| draft.config.log.console_format = format)
    }),
    key("log.dir", "log", "The directory of log files.", |draft, _, text| {
        value::path(text).map(|dir| draft.config.log.dir = dir)
    }),
    optional(
        "log.file",
        "",
        "leveret.log",
        "Log to this file too, a name in log.dir or a path; false: to none.",
        |draft, _, text| file(&mut draft.config.log.file, text),
    ),
    key(
        "log.file.rotation.size",
        "0",
        "Bytes after which a new file is begun; 0: whatever its size.",
        |draft, _, text| value::integer(text, 0..=1 << 40).map(|bytes| draft.config.log.rotation.size = bytes),
    ),
    optional(
        "log.file.rotation.date",
        "",
        "$D0",
        "When a new file is begun, in UTC: $H00 hourly, $D0 daily, $W0D0 weekly (day and hour), $M1D0 monthly.",
        |draft, _, text| value::rotation(text).map(|time| draft.config.log.rotation.time = time),
    ),
    key("log.file.rotation.count", "10", "Old files that are kept.", |draft, _, text| {
        value::integer(text, 0..=10_000).map(|count| draft.config.log.rotation.count = count)
    }),
    without_effect(key(
        "log.file.rotation.compress",
        "false",
        "No effect: old files stay as they are.",
        |_, _, text| value::boolean(text).map(drop),
    )),
    live(optional("log.file.level", "", "info", "Write nothing below this level to the file.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.file_level = Some(level))
    })),
    key("log.file.formatter", "plaintext", "The form of a line: plaintext or json.", |draft, _, text| {
        format(text).map(|format| draft.config.log.file_format = format)
    }),
    key(
        "log.exchange",
        "false",
        "Publish the log's lines to the topic exchange amq.rabbitmq.log of the default vhost, by level.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.log.exchange.on = on),
    ),
    live(optional("log.exchange.level", "", "info", "Publish nothing below this level.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.exchange.level = Some(level))
    })),
    key("log.exchange.formatter", "plaintext", "The form of a line: plaintext or json.", |draft, _, text| {
        format(text).map(|format| draft.config.log.exchange.format = format)
    }),
    optional(
        "log.audit",
        "",
        "audit.log",
        "Write every change of metadata and every login to this file, a name in log.dir or a path; false: to none (not a key of RabbitMQ).",
        |draft, _, text| file(&mut draft.config.log.audit, text),
    ),
];

/// `false` writes none.
fn file(target: &mut Option<PathBuf>, text: &str) -> Result<(), Expected> {
    *target = match text {
        "false" => None,
        _ => Some(value::path(text)?),
    };
    Ok(())
}

fn format(text: &str) -> Result<LogFormat, Expected> {
    value::choice(text, &[("plaintext", LogFormat::Plain), ("json", LogFormat::Json)])
}

pub const SYSLOG: &[Key] = &[
    key("log.syslog", "false", "Log to a syslog server too.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.log.syslog.on = on)
    }),
    live(optional("log.syslog.level", "", "info", "Send nothing below this level.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.syslog.level = Some(level))
    })),
    key("log.syslog.formatter", "plaintext", "The form of a line: plaintext or json.", |draft, _, text| {
        format(text).map(|format| draft.config.log.syslog.format = format)
    }),
    key("log.syslog.host", "localhost", "The server.", |draft, _, text| {
        set_text(&mut draft.config.log.syslog.host, text)
    }),
    optional("log.syslog.ip", "", "127.0.0.1", "The server, by its address.", |draft, _, text| {
        value::ip(text).map(|ip| draft.config.log.syslog.host = ip.to_string())
    }),
    key("log.syslog.port", "514", "Its port.", |draft, _, text| {
        value::integer(text, 1..=u16::MAX).map(|port| draft.config.log.syslog.port = port)
    }),
    key("log.syslog.transport", "udp", "udp or tcp.", |draft, _, text| {
        let transports = [("udp", SyslogTransport::Udp), ("tcp", SyslogTransport::Tcp)];
        value::choice(text, &transports).map(|transport| draft.config.log.syslog.transport = transport)
    }),
    key("log.syslog.protocol", "rfc3164", "rfc3164 or rfc5424.", |draft, _, text| {
        let protocols = [("rfc3164", SyslogProtocol::Rfc3164), ("rfc5424", SyslogProtocol::Rfc5424)];
        value::choice(text, &protocols).map(|protocol| draft.config.log.syslog.protocol = protocol)
    }),
    key("log.syslog.identity", "leveret", "What lines say that they come from.", |draft, _, text| {
        set_text(&mut draft.config.log.syslog.identity, text)
    }),
    key(
        "log.syslog.facility",
        "daemon",
        "The facility: daemon, user, local0 to local7 and so on.",
        |draft, _, text| value::choice(text, &FACILITIES).map(|number| draft.config.log.syslog.facility = number),
    ),
];

/// Names of facilities and their numbers.
const FACILITIES: [(&str, u8); 25] = [
    ("kern", 0),
    ("kernel", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("clock", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
