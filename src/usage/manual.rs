//! The manual page, in the macros of `man`.

use std::fmt::Write as _;

use super::{Flag, Word};
use crate::ctl::table;

/// What stands in it beside the words.
const DESCRIPTION: &str = "\
.B leveret
is a message broker for AMQP 0-9-1 that clients of RabbitMQ use unchanged.
Without a command it runs the broker, in the foreground, until SIGTERM or an interrupt.
.PP
A link to the program with one of the names rabbitmqctl, rabbitmq-diagnostics, rabbitmq-queues, rabbitmq-plugins or
rabbitmq-upgrade is that tool, and has the commands of
.BR \"leveret ctl\" .
";

const REST: &str = "\
.SH ENVIRONMENT
.TP
.B LEVERET_CONFIG_FILE, RABBITMQ_CONFIG_FILE
The configuration file, where no --config is given.
.TP
.B LEVERET_DATA_DIR
The data directory.
.TP
.B LEVERET_URL, LEVERET_USER, LEVERET_PASSWORD
The HTTP API that
.B leveret ctl
speaks to instead of a local socket, and who logs in there.
.TP
.B NOTIFY_SOCKET, WATCHDOG_USEC
Set by systemd: the broker says when it serves, reloads its configuration and stops, and that all is well.
.SH FILES
.TP
.I /etc/leveret/rabbit.conf
The configuration of the packaged service.
.TP
.I /var/lib/leveret
Its data directory; the socket leveret.sock in it is for its user and root.
.SH SIGNALS
.TP
.B SIGTERM, SIGINT
Close every connection and stop.
.TP
.B SIGHUP
Read the configuration again, and open log files and certificates again.
.SH EXIT STATUS
The broker ends with 0 when it was told to stop and with 1 when it cannot go on; standard error says why.
.B leveret ctl
ends with 0 when it is done, 64 called wrongly or the node is in the wrong state, 65 something in the arguments cannot be used,
67 no such user, 69 the node does not answer or refuses, 70 the command cannot do that, 75 no answer in time.
.SH SEE ALSO
.BR systemctl (1),
.BR systemd.service (5)
";

/// The page.
pub fn page(program: &Word) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        ".TH LEVERET 1 \"\" \"Leveret {version}\" \"Leveret\"\n.SH NAME\nleveret \\- {}\n.SH SYNOPSIS\n",
        plain(program.help.trim_end_matches('.'))
    );
    for word in &program.words {
        let _ = writeln!(text, ".B leveret {}\n[options] {}\n.br", plain(&word.name), plain(&word.arguments));
    }
    let _ = write!(text, ".SH DESCRIPTION\n{DESCRIPTION}");
    for (path, word) in program.paths() {
        let is_of_ctl = path.starts_with("leveret ctl");
        if path == program.name || (is_of_ctl && word.name != "ctl") {
            continue;
        }
        let _ = writeln!(text, ".SS {}\n{}", plain(&format!("{path} {}", word.arguments)), plain(&word.help));
        word.flags.iter().for_each(|flag| option(&mut text, flag));
    }
    text += ".SH COMMANDS OF LEVERET CTL\n";
    for group in table::GROUPS {
        let _ = writeln!(text, ".SS {}", plain(group.title));
        for command in group.commands {
            let word = Word::of_command(command);
            let _ = writeln!(text, ".TP\n.B {} {}\n{}", plain(&word.name), plain(&word.arguments), plain(&word.help));
            let options: Vec<String> = word.flags.iter().map(|flag| plain(&written(flag))).collect();
            if !options.is_empty() {
                let _ = writeln!(text, ".br\nOptions: {}", options.join(", "));
            }
        }
    }
    text += REST;
    text.lines().fold(String::new(), |page, line| page + line.trim_end() + "\n")
}

fn option(text: &mut String, flag: &Flag) {
    let _ = writeln!(text, ".TP\n.B {}\n{}", plain(&written(flag)), plain(&flag.help));
}

fn written(flag: &Flag) -> String {
    let short = flag.short.map_or_else(String::new, |letter| format!("-{letter}, "));
    let value = flag.value.as_ref().map_or_else(String::new, |value| format!(" {value}"));
    format!("{short}--{}{value}", flag.long)
}

/// Text in which nothing is a request: dashes stay dashes, and no line begins with a dot or a quote.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_no_stray_request() {
        let ctl = Word { name: "ctl".to_owned(), ..Word::default() };
        let program = Word { name: "leveret".to_owned(), words: vec![ctl], ..Word::default() };
        let page = page(&program);
        assert!(page.contains(".B list_queues [<column> ...]\n"), "{page}");
        let known = ["TH", "SH", "SS", "TP", "B", "BR", "I", "PP", "br"];
        for line in page.lines().filter(|line| line.starts_with('.')) {
            let request = line.trim_start_matches('.').split(' ').next().unwrap();
            assert!(known.contains(&request), "{line}");
        }
        assert_eq!(plain(".x-y\\z"), "\\&.x\\-y\\ez");
    }
}
