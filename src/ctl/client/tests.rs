use super::*;

fn tcp(url: &str) -> (String, u16, String, String, String) {
    match Target::parse(url, None, Some("secret".to_owned())) {
        Ok(Target::Tcp { host, port, prefix, user, password, trust }) => {
            assert_eq!(trust, url.starts_with("https:").then_some(Trust::System));
            (host, port, prefix, user, password)
        }
        other => panic!("{url}: {other:?}"),
    }
}

fn of(host: &str, port: u16, prefix: &str, user: &str, password: &str) -> (String, u16, String, String, String) {
    (host.to_owned(), port, prefix.to_owned(), user.to_owned(), password.to_owned())
}

#[test]
fn urls_say_where_and_who() {
    assert_eq!(tcp("http://ann:p%40ss@host:8080"), of("host", 8080, "", "ann", "p@ss"));
    assert_eq!(tcp("http://ann@host"), of("host", 15672, "", "ann", "secret"));
    assert_eq!(tcp("http://host/rabbit/api/"), of("host", 15672, "rabbit", "guest", "secret"));
    assert_eq!(tcp("http://[::1]:15672"), of("::1", 15672, "", "guest", "secret"));
    assert_eq!(tcp("http://[::1]"), of("::1", 15672, "", "guest", "secret"));
    assert_eq!(tcp("https://host"), of("host", 15671, "", "guest", "secret"));
    assert_eq!(tcp("localhost"), of("localhost", 15672, "", "guest", "secret"));
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_their_password() {
    let error = Target::parse("http://ann:hidden@host:port", None, None).unwrap_err();
    assert!(!error.to_string().contains("hidden"), "{error}");
    assert!(Target::parse("http://", None, None).is_err());
}

#[test]
fn an_answer_that_is_too_long_is_not_taken_for_a_whole_one() {
    assert_eq!(whole(&b"12345"[..], 5).unwrap(), b"12345");
    assert_eq!(whole(&b"123456"[..], 5).unwrap_err().to_string(), "the answer has more than 5 bytes");
}
