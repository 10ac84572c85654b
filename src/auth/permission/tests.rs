use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, text: &str) -> bool {
    Pattern::new(pattern).unwrap().matches(text)
}

#[test]
fn patterns_match_anywhere() {
    assert!(matches("b", "abc"));
    assert!(!matches("^b", "abc"));
    assert!(matches("^(orders|invoices)\\..+", "orders.eu"));
    assert!(!matches("^(orders|invoices)\\..+", "orders"));
    for all in [".*", "^.*", ".*$", "^.*$"] {
        assert!(matches(all, "anything") && matches(all, ""), "{all}");
    }
}

#[test]
fn the_empty_pattern_denies_every_name() {
    for none in ["", "^$"] {
        assert!(!matches(none, "a"), "{none:?}");
        assert!(matches(none, ""), "{none:?}");
    }
}

#[test]
fn what_pcre_users_write() {
    assert!(matches("^(?!amq\\.)", "orders"));
    assert!(!matches("^(?!amq\\.)", "amq.topic"));
    assert!(matches("(?<=a)b", "ab"));
    assert!(matches("^(.)\\1$", "aa"));
    assert!(matches("(?i)^ORDERS$", "orders"));
    assert!(matches("^\\w{2,3}$", "abc"));
    assert!(!matches("^\\w{2,3}$", "abcd"));
    assert!(matches("^a\\-b\\_c\\/d$", "a-b_c/d"));
    assert!(matches("^[[:alpha:]_]+$", "a_b"));
    assert!(!matches("^[[:alpha:]_]+$", "1"));
}

#[test]
fn what_pcre_takes_literally() {
    assert!(matches("^{a}$", "{a}"));
    assert!(matches("^a{,2}$", "a{,2}"));
    assert!(matches("^a{$", "a{"));
    assert!(matches("^[[]$", "["));
    assert!(matches("^[]a]+$", "]a"));
    assert!(matches("^[^]]+$", "a"));
    assert!(!matches("^[^]]+$", "]"));
    assert!(matches("^[a&&b]+$", "a&b"));
    assert!(matches("^\\{\\d\\}$", "{1}"));
}

#[test]
fn what_is_no_expression_is_refused() {
    for bad in ["(", "[a", "*a", "a)"] {
        let error = Pattern::new(bad).unwrap_err();
        assert_eq!(error.pattern, bad);
        assert!(error.to_string().starts_with(&format!("invalid regular expression '{bad}': ")), "{error}");
    }
}

#[test]
fn a_pattern_that_gives_up_denies() {
    let hostile = Pattern::new("^(?=(a+)+$)(a|aa)+\\1b$").unwrap();
    assert!(!hostile.matches(&"a".repeat(200)));
    assert!(Pattern::new(&format!("(a{{1000}}){}", "{1000}")).is_err(), "size is limited");
}

#[test]
fn variables_are_filled_in_and_mean_themselves() {
    let pattern = |source| Pattern::with_variables(source, &[("username", "j.doe"), ("vhost", "{username}")]).unwrap();
    assert!(pattern("^{username}\\..*").matches("j.doe.x"));
    assert!(!pattern("^{username}\\..*").matches("jxdoe.x"));
    assert!(pattern("^{vhost}$").matches("{username}"), "a value is not expanded again");
    assert!(pattern("^{client_id}-{username}$").matches("{client_id}-j.doe"));
    assert!(pattern("^{").matches("{"));
    assert!(pattern("^x{2}{username}$").matches("xxj.doe"));
    assert_eq!(pattern("^{username}").as_str(), "^{username}");
}

fn rules() -> Rules {
    let permissions = Permissions { configure: "^c".into(), write: "^w".into(), read: "^r".into() };
    let topic = TopicPermission { exchange: "t".into(), write: "^{username}\\.".into(), read: "^{vhost}\\.".into() };
    Rules::compile("joe", "v", &permissions, [&topic]).unwrap()
}

#[test]
fn each_access_has_its_own_pattern() {
    for (access, name) in [(Access::Configure, "c"), (Access::Write, "w"), (Access::Read, "r")] {
        for other in ["c", "w", "r", "amq.default"] {
            assert_eq!(rules().allows(access, other), other == name, "{access} {other}");
        }
    }
}

#[test]
fn topics_are_open_until_they_have_a_rule() {
    let rules = rules();
    assert!(rules.has_topics());
    assert!(rules.topic_allows(Access::Write, "other", "x"));
    assert!(rules.topic_allows(Access::Write, "t", "joe.x"));
    assert!(!rules.topic_allows(Access::Write, "t", "v.x"));
    assert!(rules.topic_allows(Access::Read, "t", "v.x"));
    assert!(!rules.topic_allows(Access::Read, "t", "joe.x"));
    assert!(rules.topic_allows(Access::Configure, "t", "x"));
    assert!(!Rules::compile("joe", "v", &Permissions::all(), []).unwrap().has_topics());
}

#[test]
fn access_is_written_as_in_rabbits_texts() {
    let texts = [Access::Configure, Access::Write, Access::Read].map(|access| access.to_string());
    assert_eq!(texts, ["configure", "write", "read"]);
}

proptest! {
    /// Whoever looks only at names with the prefix finds all that the pattern matches.
    #[test]
    fn what_a_pattern_matches_begins_with_its_prefix(
        parts in prop::collection::vec(
            prop::sample::select(vec!["^", "a", "b", "a", "b", "-", "\\.", "\\w", "\\b", ".", "*", "+", "?", "{0,2}", "{", "|", "(", ")", "(?i)", "$", "[ab]"]), 0..8
        ),
        names in prop::collection::vec("[abA.-]{0,4}", 20),
    ) {
        let Ok(pattern) = Pattern::new(&parts.concat()) else { return Ok(()) };
        let anchored = Pattern::new(&format!("^{}", parts.concat()));
        for pattern in std::iter::once(pattern).chain(anchored) {
            let prefix = pattern.prefix();
            for name in names.iter().filter(|name| pattern.matches(name)) {
                prop_assert!(name.starts_with(&prefix), "{} matches {name}", pattern.as_str());
            }
        }
    }
}

#[test]
fn the_prefix_of_usual_patterns_is_seen() {
    let prefix = |pattern: &str| Pattern::new(pattern).unwrap().prefix();
    for (pattern, expected) in [
        ("^orders-", "orders-"),
        ("^amq\\.gen-.*", "amq.gen-"),
        ("^a/b:c$", "a/b:c"),
        ("^(a|b)", ""),
        ("^ab?c", "a"),
        ("^a+b", "a"),
        ("^abc|d", ""),
        ("abc", ""),
        ("^", ""),
        (".*", ""),
    ] {
        assert_eq!(prefix(pattern), expected, "{pattern}");
    }
}
