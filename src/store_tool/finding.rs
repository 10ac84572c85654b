//! Something that is not as it was written, and whom it concerns.

use std::collections::HashMap;
use std::path::PathBuf;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub file: PathBuf,
    pub offset: Option<u64>,
    pub what: String,
    pub effect: Effect,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is lost: there is a second copy, or it can be made anew. What will be done at the next start.
    Mended(&'static str),
    /// No message is lost, and some may be taken twice: what exchanges and queues have seen is forgotten.
    Repetitions,
    /// Anything of any queue may be lost.
    AnyQueue,
    /// Queues that are not served, and how many of their messages are lost at most, where that is known.
    Queues(Vec<(u64, Option<u64>)>),
    /// Nothing can be started with this, and the tool cannot help.
    Fatal,
}

/// Virtual host and name of queues by their numbers in the store.
pub type Names = HashMap<u64, (String, String)>;

/// How a queue is called in what people read.
fn queue_text(names: &Names, id: u64) -> Option<String> {
    names.get(&id).map(|(vhost, name)| format!("queue '{name}' in vhost '{vhost}'"))
}

impl Finding {
    /// In one or two sentences.
    pub fn text(&self, names: &Names) -> String {
        let at = self.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
        format!("{}{at}: {}. {}", self.file.display(), self.what, self.effect_text(names))
    }

    fn effect_text(&self, names: &Names) -> String {
        match &self.effect {
            Effect::Mended(how) => format!("Nothing is lost: {how}."),
            Effect::Repetitions => {
                "No message is lost: the next start goes on without it, and repetitions of what was published before are \
                 let through."
                    .to_owned()
            }
            Effect::AnyQueue => {
                "Messages or acknowledgements of any queue may be lost: no durable queue is served.".to_owned()
            }
            Effect::Fatal => "No node can start with this: put back the data directory from a backup.".to_owned(),
            Effect::Queues(queues) => {
                let texts: Vec<String> =
                    queues.iter().filter_map(|(id, lost)| Some(loss_text(&queue_text(names, *id)?, *lost))).collect();
                if texts.is_empty() {
                    return "Only queues that have been deleted are concerned.".to_owned();
                }
                texts.join(" ")
            }
        }
    }

    /// False when no message is lost by it.
    pub fn loses(&self) -> bool {
        matches!(self.effect, Effect::AnyQueue | Effect::Queues(_))
    }
}

fn loss_text(queue: &str, lost: Option<u64>) -> String {
    match lost {
        None => format!("Lost of {queue}: it is not known how much."),
        Some(0) => format!("Lost of {queue}: no message, but acknowledgements may be, and messages come again."),
        Some(1) => format!("Lost of {queue}: at most 1 message."),
        Some(n) => format!("Lost of {queue}: at most {n} messages."),
    }
}
