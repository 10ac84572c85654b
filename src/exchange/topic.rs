//! Topic exchanges: patterns of dot-separated words in a trie. `*` stands for exactly one word, also an empty one; `#`
//! for any number of words, also none. An empty key or pattern has no words, so the key "" matches "" and "#" but not "*";
//! "a." has two words, the second of them empty.
//!
//! Words are numbered once for the whole exchange, and all edges are in one table, so a node is a few dozen bytes and
//! holds no map of its own. A routing key is first turned into word numbers; a word that no pattern has can only be
//! matched by wildcards.
//!
//! **Bound.** The walk goes down from the root, and visits a node at a position of the key at most once: at most
//! (nodes that match a beginning of the key) x (words of the key + 1) visits, whatever the patterns. A node has one
//! parent, so it could be reached twice at one position only below two `#`. The walk enters every `#` at rising
//! positions (see [`Walk::enter_hash`]), so the first entry covers all later ones, which are skipped.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::few::Targets;
use super::scratch::Scratch;

/// Patterns of more words are never matched: a key of 255 bytes cannot have more, and the walk's depth is bounded.
pub const MAX_WORDS: usize = 256;

/// Words of a routing key that are looked up without an allocation.
const SHORT_KEY: usize = 32;

const ROOT: u32 = 0;
/// No node, or a word that no pattern has.
const NONE: u32 = u32::MAX;

/// The patterns bound to one topic exchange, with their destinations.
#[derive(Debug)]
pub struct Trie<D> {
    nodes: Vec<Node<D>>,
    /// Nodes that are not in use.
    free: Vec<u32>,
    /// (node, word) -> the child below that literal word.
    edges: HashMap<(u32, u32), u32, RandomState>,
    words: Words,
}

#[derive(Debug)]
struct Node<D> {
    /// Destinations of the pattern that ends here.
    targets: Targets<D>,
    /// The child below `*`.
    star: u32,
    /// The child below `#`.
    hash: u32,
    /// Number of children below literal words.
    literals: u32,
    /// A `#` below another `#`: several ways may lead here.
    nested_hash: bool,
    below_hash: bool,
}

impl<D> Node<D> {
    fn new(below_hash: bool, nested_hash: bool) -> Self {
        Self { targets: Targets::None, star: NONE, hash: NONE, literals: 0, nested_hash, below_hash }
    }

    fn is_leaf(&self) -> bool {
        self.literals == 0 && self.star == NONE && self.hash == NONE
    }
}

impl<D> Default for Trie<D> {
    fn default() -> Self {
        let root = Node::new(false, false);
        Self { nodes: vec![root], free: Vec::new(), edges: HashMap::default(), words: Words::default() }
    }
}

impl<D: Clone + Eq + Hash> Trie<D> {
    pub fn insert(&mut self, pattern: &str, dest: D) {
        if is_too_long(pattern) {
            return;
        }
        let end = words(pattern).fold(ROOT, |node, word| self.child_or_new(node, word));
        if let Some(node) = self.node_mut(end) {
            node.targets.add(dest);
        }
    }

    /// Removes one binding of `dest` under `pattern`, which was inserted before, and the nodes that it leaves empty.
    pub fn remove(&mut self, pattern: &str, dest: &D) {
        if is_too_long(pattern) {
            return;
        }
        let mut path = Vec::new();
        let mut end = ROOT;
        for word in words(pattern) {
            let Some(child) = self.child(end, word) else { return };
            path.push((end, word, child));
            end = child;
        }
        if let Some(node) = self.node_mut(end) {
            node.targets.take(dest);
        }
        for (parent, word, child) in path.into_iter().rev() {
            if self.node(child).is_some_and(|node| !node.is_leaf() || !node.targets.is_empty()) {
                break;
            }
            self.cut(parent, word, child);
        }
    }

    /// Appends the destinations of all patterns that match.
    ///
    /// Does not allocate, except for a key of more than 32 words, and when a pattern with several `#` is met.
    pub fn route(&self, routing_key: &[u8], out: &mut Vec<D>) {
        let mut key = Scratch::<u32, SHORT_KEY>::new(NONE);
        if !routing_key.is_empty() {
            routing_key.split(|byte| *byte == b'.').for_each(|word| key.push(self.words.number(word)));
        }
        Walk { trie: self, key: key.as_mut_slice(), entered: HashSet::default(), out }.visit(ROOT, 0);
    }

    fn node(&self, id: u32) -> Option<&Node<D>> {
        self.nodes.get(id as usize)
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut Node<D>> {
        self.nodes.get_mut(id as usize)
    }

    fn child(&self, parent: u32, word: &str) -> Option<u32> {
        let node = self.node(parent)?;
        let child = match word {
            "*" => node.star,
            "#" => node.hash,
            _ => return self.edges.get(&(parent, self.words.number(word.as_bytes()))).copied(),
        };
        (child != NONE).then_some(child)
    }

    fn child_or_new(&mut self, parent: u32, word: &str) -> u32 {
        if let Some(child) = self.child(parent, word) {
            return child;
        }
        let above = self.node(parent).is_some_and(|node| node.below_hash);
        let child = self.allocate(Node::new(above || word == "#", above && word == "#"));
        let literal = (word != "*" && word != "#").then(|| self.words.retain(word.as_bytes()));
        if let Some(number) = literal {
            self.edges.insert((parent, number), child);
        }
        if let Some(node) = self.node_mut(parent) {
            match word {
                "*" => node.star = child,
                "#" => node.hash = child,
                _ => node.literals += 1,
            }
        }
        child
    }

    fn allocate(&mut self, node: Node<D>) -> u32 {
        if let Some(id) = self.free.pop()
            && let Some(place) = self.nodes.get_mut(id as usize)
        {
            *place = node;
            return id;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    /// Takes an empty leaf off its parent.
    fn cut(&mut self, parent: u32, word: &str, child: u32) {
        if word != "*" && word != "#" {
            self.edges.remove(&(parent, self.words.number(word.as_bytes())));
            self.words.release(word.as_bytes());
        }
        if let Some(node) = self.node_mut(parent) {
            match word {
                "*" => node.star = NONE,
                "#" => node.hash = NONE,
                _ => node.literals -= 1,
            }
        }
        self.free.push(child);
    }
}

fn words(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('.').take(if pattern.is_empty() { 0 } else { usize::MAX })
}

fn is_too_long(pattern: &str) -> bool {
    words(pattern).nth(MAX_WORDS).is_some()
}

/// One walk of one routing key through the trie.
struct Walk<'a, D> {
    trie: &'a Trie<D>,
    /// The words of the key, by number.
    key: &'a [u32],
    /// The nested `#` nodes that this walk has entered.
    entered: HashSet<u32, RandomState>,
    out: &'a mut Vec<D>,
}

impl<'a, D: Clone + Eq + Hash> Walk<'a, D> {
    /// The pattern up to `id` has matched the words before `position`.
    fn visit(&mut self, id: u32, position: usize) {
        let Some(node) = self.trie.node(id) else { return };
        if position == self.key.len() {
            self.emit(node);
        }
        self.descend(id, node, position);
    }

    fn descend(&mut self, id: u32, node: &'a Node<D>, position: usize) {
        if node.hash != NONE {
            self.enter_hash(node.hash, position);
        }
        let Some(word) = self.key.get(position) else { return };
        if node.star != NONE {
            self.visit(node.star, position + 1);
        }
        if node.literals > 0
            && *word != NONE
            && let Some(child) = self.trie.edges.get(&(id, *word))
        {
            self.visit(*child, position + 1);
        }
    }

    /// A `#` reached at `position` takes none, one, ... all of the words from there on.
    ///
    /// All ways to a nested `#` come from the one above it by a fixed number of words, and that one is entered once and
    /// runs through rising positions. So the first entry is at the lowest position, and includes the later ones.
    fn enter_hash(&mut self, id: u32, position: usize) {
        let Some(node) = self.trie.node(id) else { return };
        if node.nested_hash && !self.entered.insert(id) {
            return;
        }
        self.emit(node);
        if node.is_leaf() {
            return;
        }
        for next in position..=self.key.len() {
            self.descend(id, node, next);
        }
    }

    fn emit(&mut self, node: &Node<D>) {
        self.out.extend(node.targets.keys().cloned());
    }
}

/// The words of all patterns, each with a number and the count of edges that carry it.
#[derive(Debug, Default)]
struct Words {
    known: HashMap<Box<[u8]>, Word, RandomState>,
    next: u32,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Word {
    number: u32,
    edges: u32,
}

impl Words {
    fn number(&self, word: &[u8]) -> u32 {
        self.known.get(word).map_or(NONE, |known| known.number)
    }

    fn retain(&mut self, word: &[u8]) -> u32 {
        if let Some(known) = self.known.get_mut(word) {
            known.edges += 1;
            return known.number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.known.insert(word.into(), Word { number, edges: 1 });
        number
    }

    fn release(&mut self, word: &[u8]) {
        let Some(known) = self.known.get_mut(word) else { return };
        known.edges -= 1;
        if known.edges == 0 {
            self.free.push(known.number);
            self.known.remove(word);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
