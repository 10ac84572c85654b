//! `rabbit.conf.example`, made from the table of keys.

use super::keys::{Key, SECTIONS, Shown};

const HEAD: &str = "\
## All settings of Leveret with their defaults. The format, the names and the defaults are those of RabbitMQ's
## rabbitmq.conf; keys of RabbitMQ that mean nothing here are accepted with a warning.
##
## One `key = value` a line. A # begins a comment; a value that holds one stands in 'single quotes'.
## Of a key that is set twice the last one counts. Remove the # before a key to set it.
";

/// The text of the example file: every key with a line of help, commented out.
pub fn example() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        out += &format!("\n##\n## {}\n##\n", section.title);
        for key in section.keys {
            out += &format!("\n## {}\n{}\n", key.help, line(key));
        }
    }
    out
}

/// The key with its default, or with a value that one could write.
fn line(key: &Key) -> String {
    match key.shown {
        Shown::Default(value) => format!("# {} = {value}", key.name),
        Shown::DefaultOf(word, value) => format!("# {} = {value}", key.written(word)),
        Shown::Example(word, value) => {
            format!("# {} = {value}    # an example; there is no default", key.written(word))
        }
    }
}
