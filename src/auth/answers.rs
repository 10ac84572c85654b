//! What a service outside has said of one user, and what it has to be asked.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::User;
use super::permission::Access;

/// Most answers that are kept of one login.
const MOST: usize = 1024;
/// Most questions that are asked in one go. More come with the next try.
const MOST_OPEN: usize = 256;

/// What one does something with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Queue,
    Exchange,
}

impl Kind {
    /// By its word, as it stands in refusals.
    pub fn of(word: &str) -> Self {
        if word.starts_with("queue") { Self::Queue } else { Self::Exchange }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        })
    }
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    Vhost { vhost: Arc<str> },
    Resource { vhost: Arc<str>, kind: Kind, name: Box<str>, access: Access },
    Topic { vhost: Arc<str>, exchange: Box<str>, key: Box<str>, access: Access },
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vhost { vhost } => write!(f, "access to vhost '{vhost}'"),
            Self::Resource { vhost, kind, name, access } => {
                write!(f, "{access} access to {kind} '{name}' in vhost '{vhost}'")
            }
            Self::Topic { vhost, exchange, key, access } => {
                write!(f, "{access} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}'")
            }
        }
    }
}

/// The answers for one login. Times are in milliseconds since 1970.
#[derive(Debug)]
pub struct Answers {
    pub user: Arc<User>,
    /// Where the user comes from.
    pub peer: IpAddr,
    /// The answers may be shared with other logins.
    pub cached: bool,
    /// How long an answer holds, in milliseconds.
    holds: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The answer, and until when it holds.
    known: HashMap<Question, (bool, u64)>,
    open: Vec<Question>,
    /// Something waits for answers: those that there are hold until it is over.
    held: bool,
}

impl Answers {
    pub fn new(user: Arc<User>, peer: IpAddr, cached: bool, holds: u64) -> Self {
        Self { user, peer, cached, holds, state: Mutex::default() }
    }

    /// None yet, for a user who has more tags.
    pub fn for_user(&self, user: &Arc<User>) -> Self {
        Self::new(Arc::clone(user), self.peer, self.cached, self.holds)
    }

    /// What the service has said. A question that it has not been asked is noted, and the answer is no for now.
    pub fn says(&self, question: Question, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        match state.known.get(&question) {
            Some((allowed, until)) if state.held || *until > now_ms => *allowed,
            _ => {
                if state.open.len() < MOST_OPEN && !state.open.contains(&question) {
                    state.open.push(question);
                }
                false
            }
        }
    }

    pub fn has_open(&self) -> bool {
        !self.state.lock().open.is_empty()
    }

    /// What is to be asked.
    pub fn take_open(&self) -> Vec<Question> {
        std::mem::take(&mut self.state.lock().open)
    }

    /// Notes an answer.
    pub fn put(&self, question: Question, allowed: bool, now_ms: u64) {
        let mut state = self.state.lock();
        if state.known.len() >= MOST {
            state.known.clear();
        }
        state.known.insert(question, (allowed, now_ms.saturating_add(self.holds)));
    }

    /// Something begins to wait for answers: those that hold now, and those that come, hold until it is over.
    pub fn hold(&self, now_ms: u64) {
        let mut state = self.state.lock();
        state.known.retain(|_, (_, until)| *until > now_ms);
        state.held = true;
    }

    /// It is over: what does not hold any more is forgotten, and refusals are: they count once, so that whoever is let in
    /// meanwhile need not wait.
    pub fn release(&self, now_ms: u64) {
        let mut state = self.state.lock();
        state.held = false;
        state.open.clear();
        state.known.retain(|_, (allowed, until)| *allowed && *until > now_ms);
    }

    /// When the first of the answers stops to hold.
    pub fn holds_until(&self) -> u64 {
        self.state.lock().known.values().map(|(_, until)| *until).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vhost(name: &str) -> Question {
        Question::Vhost { vhost: name.into() }
    }

    #[test]
    fn an_answer_holds_for_its_time_and_a_refusal_once() {
        let answers = Answers::new(Arc::new(User::new("u")), IpAddr::from([127, 0, 0, 1]), false, 100);
        assert!(!answers.says(vhost("a"), 1000) && !answers.says(vhost("a"), 1000) && !answers.says(vhost("b"), 1000));
        assert_eq!(answers.take_open(), [vhost("a"), vhost("b")]);
        answers.put(vhost("a"), true, 1000);
        answers.put(vhost("b"), false, 1000);
        assert!(answers.says(vhost("a"), 1099) && !answers.says(vhost("b"), 1099) && !answers.has_open());
        assert_eq!(answers.holds_until(), 1100);
        answers.release(1050);
        assert!(!answers.says(vhost("b"), 1051) && answers.has_open(), "a refusal is asked for again");
        assert!(!answers.says(vhost("a"), 1100));
        assert_eq!(answers.take_open(), [vhost("b"), vhost("a")]);
    }

    #[test]
    fn an_answer_holds_while_something_waits_for_others() {
        let answers = Answers::new(Arc::new(User::new("u")), IpAddr::from([127, 0, 0, 1]), false, 100);
        answers.put(vhost("old"), true, 0);
        answers.hold(1000);
        answers.put(vhost("a"), true, 1000);
        assert!(answers.says(vhost("a"), 5000) && !answers.says(vhost("old"), 5000));
        answers.release(5000);
        assert!(!answers.says(vhost("a"), 5000));
    }

    #[test]
    fn what_is_kept_and_asked_has_a_limit() {
        let answers = Answers::new(Arc::new(User::new("u")), IpAddr::from([127, 0, 0, 1]), false, 100);
        for n in 0..10_000 {
            answers.says(vhost(&n.to_string()), 0);
            answers.put(vhost(&n.to_string()), true, 0);
        }
        let state = answers.state.lock();
        assert!(state.known.len() <= MOST && state.open.len() <= MOST_OPEN);
    }
}
