//! The queues, the exchange and the bindings of a run, and which producer reaches which queues.
//!
//! Every message of producer `p` reaches the same queues, so that the checker can expect its numbers without a gap in
//! each of them. With `--bindings` the bindings fall into groups of `--matches`; a message's key belongs to one group
//! and matches its bindings and no other. Group `g` belongs to producer `g mod producers`, which goes round its groups
//! from message to message; the group's binding `m` leads to queue `(producer + m) mod queues`.

use crate::frames::{Table, Value};

use super::options::{ExchangeType, Options};

#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    /// Number of the first queue.
    first: u32,
    pub kind: ExchangeType,
    pub queues: u32,
    producers: u32,
    groups: u32,
    matches: u32,
    bindings: u32,
}

/// What a producer addresses one message with.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub key: String,
    pub headers: Option<Table>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub queue: u32,
    pub key: String,
    pub arguments: Table,
}

impl Topology {
    pub fn new(options: &Options) -> Self {
        let (producers, matches) = (u32::from(options.producers).max(1), u32::from(options.matches));
        Self {
            prefix: options.queue_prefix.clone(),
            first: 0,
            kind: options.exchange(),
            queues: options.queues,
            producers,
            groups: producers.max(options.bindings / matches),
            matches,
            bindings: options.bindings,
        }
    }

    /// The queues of the same prefix that begin with another number.
    pub fn starting_with(self, first: u32) -> Self {
        Self { first, ..self }
    }

    pub fn queue_name(&self, queue: u32) -> String {
        format!("{}-{}", self.prefix, self.first + queue)
    }

    /// Empty for the default exchange.
    pub fn exchange_name(&self) -> String {
        if self.kind == ExchangeType::Default { String::new() } else { format!("{}-exchange", self.prefix) }
    }

    /// The queues that each message of a producer reaches.
    pub fn targets(&self, producer: u16) -> Vec<u32> {
        let producer = u32::from(producer);
        match self.kind {
            ExchangeType::Fanout => (0..self.queues).collect(),
            ExchangeType::Default => vec![producer % self.queues],
            _ => (0..self.matches.min(self.queues)).map(|m| (producer + m) % self.queues).collect(),
        }
    }

    /// The addresses that a producer uses in turn.
    pub fn routes(&self, producer: u16) -> Vec<Route> {
        let key = |key| Route { key, headers: None };
        let groups = (u32::from(producer)..self.groups).step_by(self.producers as usize);
        match self.kind {
            ExchangeType::Default => vec![key(self.queue_name(u32::from(producer) % self.queues))],
            ExchangeType::Fanout => vec![key(String::new())],
            ExchangeType::Direct => groups.map(|g| key(group_name(g))).collect(),
            ExchangeType::Topic => groups.map(|g| key(self.topic_words(g).join("."))).collect(),
            ExchangeType::Headers => groups
                .map(|g| Route { key: String::new(), headers: Some(one_header("group", &group_name(g))) })
                .collect(),
        }
    }

    pub fn bindings(&self) -> Vec<Binding> {
        match self.kind {
            ExchangeType::Default => Vec::new(),
            ExchangeType::Fanout => (0..self.queues.max(self.bindings)).map(|n| self.fanout_binding(n)).collect(),
            _ => (0..self.groups).flat_map(|g| (0..self.matches).map(move |m| self.group_binding(g, m))).collect(),
        }
    }

    /// Beyond one binding for each queue, a fan-out's bindings repeat the queues with other keys, and match too.
    fn fanout_binding(&self, n: u32) -> Binding {
        let key = if n < self.queues { String::new() } else { group_name(n) };
        Binding { queue: n % self.queues, key, arguments: Table::default() }
    }

    fn group_binding(&self, group: u32, m: u32) -> Binding {
        let queue = (group % self.producers + m) % self.queues;
        match self.kind {
            ExchangeType::Topic => Binding { queue, key: self.topic_pattern(group, m), arguments: Table::default() },
            ExchangeType::Headers => Binding { queue, key: String::new(), arguments: header_arguments(group, m) },
            _ => Binding { queue, key: group_name(group), arguments: Table::default() },
        }
    }

    /// The group, and as many words more as are needed to put wildcards into `matches` different sets of places.
    fn topic_words(&self, group: u32) -> Vec<String> {
        let wild = (u32::BITS - self.matches.leading_zeros()).max(2);
        std::iter::once(group_name(group)).chain((0..wild).map(|w| format!("word{w}"))).collect()
    }

    fn topic_pattern(&self, group: u32, m: u32) -> String {
        let mut words = self.topic_words(group);
        let last = words.len() - 1;
        for (at, word) in words.iter_mut().enumerate().skip(1) {
            if (m + 1) >> (at - 1) & 1 == 1 {
                *word = if at == last { "#" } else { "*" }.into();
            }
        }
        words.join(".")
    }
}

/// All of one length, so that brokers see keys of one shape.
fn group_name(group: u32) -> String {
    format!("g{group:06}")
}

fn one_header(key: &str, value: &str) -> Table {
    std::iter::once((key, Value::text(value))).collect()
}

/// The first binding of a group asks for all its headers, the others for any.
fn header_arguments(group: u32, m: u32) -> Table {
    let mut table = one_header("x-match", if m == 0 { "all" } else { "any" });
    table.insert("group", Value::text(group_name(group)));
    if m > 0 {
        table.insert("other", Value::I32(m.cast_signed()));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::options::tests::parse;
    use super::*;

    /// Topic matching by the book.
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => (0..=key.len()).any(|n| matches(rest, &key[n..])),
            (Some((&"*", rest)), Some((_, tail))) => matches(rest, tail),
            (Some((word, rest)), Some((head, tail))) => word == head && matches(rest, tail),
            _ => false,
        }
    }

    fn words(text: &str) -> Vec<&str> {
        text.split('.').collect()
    }

    #[test]
    fn each_topic_key_matches_exactly_as_many_patterns_as_asked() {
        for m in [1, 2, 3, 5] {
            let line =
                format!("--producers 3 --queues 2 --consumers 2 --exchange-type topic --bindings 60 --matches {m}");
            let topology = Topology::new(&parse(&line).unwrap());
            let bindings = topology.bindings();
            assert_eq!(bindings.len(), 60);
            assert!(bindings.iter().all(|b| b.key.contains(['*', '#'])));
            for producer in 0..3 {
                for route in topology.routes(producer) {
                    let hits: Vec<&Binding> =
                        bindings.iter().filter(|b| matches(&words(&b.key), &words(&route.key))).collect();
                    assert_eq!(hits.len(), m);
                    let queues: BTreeSet<u32> = hits.iter().map(|b| b.queue).collect();
                    assert_eq!(queues, topology.targets(producer).into_iter().collect());
                }
            }
        }
    }

    #[test]
    fn direct_keys_reach_their_targets() {
        let line = "--producers 2 --queues 3 --consumers 3 --exchange-type direct --matches 2 --bindings 8";
        let topology = Topology::new(&parse(line).unwrap());
        let bindings = topology.bindings();
        assert_eq!((bindings.len(), topology.routes(1).len()), (8, 2));
        for route in topology.routes(1) {
            let queues: Vec<u32> = bindings.iter().filter(|b| b.key == route.key).map(|b| b.queue).collect();
            assert_eq!(queues, topology.targets(1));
        }
    }

    #[test]
    fn the_default_exchange_and_fanout_need_no_groups() {
        let topology = Topology::new(&parse("--producers 3 --queues 2 --consumers 2").unwrap());
        assert_eq!((topology.targets(2), topology.routes(1)[0].key.as_str()), (vec![0], "leveret-perf-1"));
        assert!(topology.bindings().is_empty());
        let topology = Topology::new(&parse("--fanout --queues 3 --consumers 3").unwrap());
        assert_eq!((topology.targets(0), topology.bindings().len()), (vec![0, 1, 2], 3));
    }
}
