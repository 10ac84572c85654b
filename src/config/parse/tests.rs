use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    let (settings, errors) = settings(text, "f");
    assert_eq!(errors, []);
    settings.into_iter().map(|s| (s.key, s.value)).collect()
}

fn pair(text: &str) -> (String, String) {
    pairs(text).pop().unwrap()
}

fn expected(text: &str) -> String {
    settings(text, "f").1.first().unwrap().to_string()
}

#[test]
fn keys_values_comments_and_blank_lines() {
    let text = "\u{feff}# head\n\n  a.b = 1\r\n\tc=two words  # note\n#d = 3\n   # e = 4\nf-g_h =  5 # 6";
    let found = pairs(text);
    let expected = [("a.b", "1"), ("c", "two words"), ("f-g_h", "5")];
    assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn quotes_keep_everything_between_them() {
    assert_eq!(pair("p = 'a # b = c '").1, "a # b = c ");
    assert_eq!(pair("p = '' # none").1, "");
    assert_eq!(pair("p = a#b").1, "a");
    assert_eq!(pair("p = it's").1, "it's");
    assert_eq!(pair("p = a = b").1, "a = b");
}

#[test]
fn lines_are_counted_and_errors_collected() {
    let (settings, errors) = settings("a = 1\nb\n\nc d = 2\ne = 3\n", "r.conf");
    assert_eq!(settings.last().unwrap().origin, Origin::Line { file: "r.conf".to_owned(), line: 5 });
    let texts: Vec<_> = errors.iter().map(ConfigError::to_string).collect();
    assert_eq!(
        texts,
        [
            "r.conf:2: cannot read \"b\"; expected key = value",
            "r.conf:4: cannot read \"c d\"; expected a key of words (letters, digits, _ and -) with dots between \
             them before the =",
        ]
    );
}

#[test]
fn what_is_no_setting() {
    assert!(expected("a =").ends_with("expected a value after the ="));
    assert!(expected("a = # b").ends_with("expected a value after the ="));
    assert!(expected("a = 'b").ends_with("expected a closing quote"));
    assert!(expected("a = 'b' c").ends_with("expected nothing but a comment after the closing quote"));
    for bad in ["= 1", ".a = 1", "a. = 1", "a..b = 1", "a$b = 1", "include other.conf"] {
        assert_eq!(settings(bad, "f").1.len(), 1, "{bad}");
    }
}

#[test]
fn escaped_dots_stay_in_their_word() {
    let (key, _) = pair(r"loopback_users.john\.doe = true");
    assert_eq!(words(&key).collect::<Vec<_>>(), ["loopback_users", "john.doe"]);
}
