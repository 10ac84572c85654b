//! A small HTTP server in this process: an auth service, or whoever has the keys of tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use percent_encoding::percent_decode_str;

/// One request: its path, and its parameters in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub parameters: Vec<(String, String)>,
}

impl Asked {
    pub fn get(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

struct State {
    answer: Mutex<Arc<Answer>>,
    asked: Mutex<Vec<Asked>>,
    /// Requests for this path wait.
    held: Mutex<Option<String>>,
    released: Condvar,
}

/// It answers until the test is over.
pub struct Service {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Service {
    pub fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            answer: Mutex::new(Arc::new(answer)),
            asked: Mutex::default(),
            held: Mutex::default(),
            released: Condvar::new(),
        });
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&of_thread);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers otherwise from now on.
    pub fn change(&self, answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
        *self.state.answer.lock().expect("the answers") = Arc::new(answer);
    }

    /// Requests for a path wait until [`Self::release`].
    pub fn hold(&self, path: &str) {
        *self.state.held.lock().expect("the gate") = Some(path.to_owned());
    }

    pub fn release(&self) {
        *self.state.held.lock().expect("the gate") = None;
        self.state.released.notify_all();
    }

    /// What it was asked so far.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.state.asked.lock().expect("the requests");
        asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

/// Requests of one connection, one after the other.
fn serve(mut stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().expect("the same socket"));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let target = line.split(' ').nth(1).expect("a target").to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a head");
            match header.trim().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().expect("a length");
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let form = if query.is_empty() { String::from_utf8(body).expect("a form") } else { query.to_owned() };
        let asked = Asked { path: path.to_owned(), parameters: parameters(&form) };
        state.asked.lock().expect("the requests").push(asked.clone());
        let mut held = state.held.lock().expect("the gate");
        while held.as_deref() == Some(path) {
            held = state.released.wait(held).expect("the gate");
        }
        drop(held);
        let answer = Arc::clone(&state.answer.lock().expect("the answers"));
        let (status, text) = answer(&asked);
        let reply = format!("HTTP/1.1 {status} Test\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn parameters(form: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned();
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}
