use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// Matching by the definition, on word lists.
pub fn matches(pattern: &str, key: &str) -> bool {
    let list = |text: &str| words(text).map(str::to_owned).collect::<Vec<_>>();
    matches_words(&list(pattern), &list(key))
}

fn matches_words(pattern: &[String], key: &[String]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((first, rest)), _) if first == "#" => (0..=key.len()).any(|n| matches_words(rest, &key[n..])),
        (Some(_), None) => false,
        (Some((first, rest)), Some((word, others))) => (first == "*" || first == word) && matches_words(rest, others),
    }
}

fn routed(trie: &Trie<usize>, key: &str) -> Vec<usize> {
    let mut out = Vec::new();
    trie.route(key.as_bytes(), &mut out);
    out.sort_unstable();
    out.dedup();
    out
}

fn trie_of(patterns: &[&str]) -> Trie<usize> {
    let mut trie = Trie::default();
    patterns.iter().enumerate().for_each(|(n, pattern)| trie.insert(pattern, n));
    trie
}

#[test]
fn wildcards() {
    let trie = trie_of(&["", "#", "*", "a", "a.*", "a.#", "#.b", "*.b", "a.*.b", "a.#.b", "#.#", "*.#"]);
    assert_eq!(routed(&trie, ""), [0, 1, 10]);
    assert_eq!(routed(&trie, "a"), [1, 2, 3, 5, 10, 11]);
    assert_eq!(routed(&trie, "b"), [1, 2, 6, 10, 11]);
    assert_eq!(routed(&trie, "a.b"), [1, 4, 5, 6, 7, 9, 10, 11]);
    assert_eq!(routed(&trie, "a.x.b"), [1, 5, 6, 8, 9, 10, 11]);
    assert_eq!(routed(&trie, "a.x.y.b"), [1, 5, 6, 9, 10, 11]);
    assert_eq!(routed(&trie, "x.y"), [1, 10, 11]);
}

#[test]
fn a_star_takes_an_empty_word() {
    let trie = trie_of(&["a.*.b", "*.*", "a."]);
    assert_eq!(routed(&trie, "a..b"), [0]);
    assert_eq!(routed(&trie, "."), [1]);
    assert_eq!(routed(&trie, "a."), [1, 2]);
}

#[test]
fn wildcards_in_a_routing_key_are_words() {
    let trie = trie_of(&["a.b", "a.*", "#"]);
    assert_eq!(routed(&trie, "a.*"), [1, 2]);
    assert_eq!(routed(&trie, "#"), [2]);
}

#[test]
fn removing_everything_leaves_only_the_root() {
    let patterns = ["a.b.c", "a.b", "a.*.c", "#.a.#", "x.y", ""];
    let mut trie = trie_of(&patterns);
    patterns.iter().enumerate().for_each(|(n, pattern)| trie.remove(pattern, &n));
    assert_eq!(trie.nodes.len() - trie.free.len(), 1);
    assert!(trie.nodes[0].is_leaf());
    assert!(trie.edges.is_empty());
    assert!(trie.words.known.is_empty());
    let nodes = trie.nodes.len();
    patterns.iter().enumerate().for_each(|(n, pattern)| trie.insert(pattern, n));
    assert_eq!(trie.nodes.len(), nodes, "places are used again");
}

/// A pattern of 60 `#` against a key of as many words has more ways to match than can be counted.
#[test]
fn many_hashes_do_not_explode() {
    let mut trie = Trie::default();
    trie.insert(&vec!["#.a"; 60].join("."), 1);
    trie.insert(&vec!["#"; 120].join("."), 2);
    trie.insert(&vec!["#.*"; 60].join("."), 3);
    let key = vec!["a"; 120].join(".");
    assert_eq!(routed(&trie, &key), [1, 2, 3]);
    assert_eq!(routed(&trie, &(key + ".b")), [2, 3]);
}

#[test]
fn more_words_than_fit_the_stack() {
    let long = vec!["w"; 255].join(".");
    let trie = trie_of(&[&long, "#", "w.#.w", "w.w"]);
    assert_eq!(routed(&trie, &long), [0, 1, 2]);
    let too_long = vec!["w"; 100_000].join(".");
    assert_eq!(routed(&trie, &too_long), [1, 2]);
    let mut trie = trie_of(&[]);
    trie.insert(&too_long, 0);
    assert!(routed(&trie, &too_long).is_empty());
    trie.remove(&too_long, &0);
}

fn pattern() -> impl Strategy<Value = String> {
    let word =
        prop_oneof![3 => "[abc]", 2 => Just("*".to_owned()), 2 => Just("#".to_owned()), 1 => Just(String::new())];
    prop::collection::vec(word, 0..6).prop_map(|words| words.join("."))
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec("[abcd]?", 0..8).prop_map(|words| words.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_the_definition(
        patterns in prop::collection::vec(pattern(), 1..20),
        removed in prop::collection::vec(any::<bool>(), 20),
        keys in prop::collection::vec(key(), 1..6),
    ) {
        let mut trie = Trie::default();
        patterns.iter().enumerate().for_each(|(n, pattern)| trie.insert(pattern, n));
        let mut kept: Vec<usize> = (0..patterns.len()).collect();
        kept.retain(|n| !removed[*n]);
        (0..patterns.len()).filter(|n| removed[*n]).for_each(|n| trie.remove(&patterns[n], &n));
        for key in keys {
            let expected: Vec<_> = kept.iter().copied().filter(|n| matches(&patterns[*n], &key)).collect();
            prop_assert_eq!(routed(&trie, &key), expected, "key {:?}", key);
        }
    }
}

/// Run by hand in release mode: `cargo test --release -- --ignored --nocapture topic_speed`.
#[test]
#[ignore = "a benchmark"]
fn topic_speed() {
    let mut trie = Trie::default();
    for n in 0..10_000 {
        trie.insert(&format!("*.device{n}.temperature.#"), n);
        trie.insert(&format!("site.device{n}.*"), n);
    }
    let keys: Vec<_> = (0..1000).map(|n| format!("site.device{}.temperature", n * 7)).collect();
    let mut out = Vec::new();
    let start = Instant::now();
    for key in keys.iter().cycle().take(1_000_000) {
        out.clear();
        trie.route(key.as_bytes(), &mut out);
        assert_eq!(out.len(), 2);
    }
    println!("20,000 patterns, 2 matches: {:?} per route", start.elapsed() / 1_000_000);
}
