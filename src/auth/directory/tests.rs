use super::*;
use crate::auth::Access;

fn user(name: &str, password: &str) -> User {
    let password_hash = Some(password::hash(password.as_bytes(), Hashing::Sha256).unwrap());
    User { password_hash, ..User::new(name) }
}

fn directory() -> Directory {
    let directory = Directory::new(vec!["guest".to_owned()]);
    directory.put_user(user("joe", "secret"));
    directory.set_permissions("joe", "/", Permissions::all()).unwrap();
    directory
}

fn topic(exchange: &str, write: &str) -> TopicPermission {
    TopicPermission { exchange: exchange.to_owned(), write: write.to_owned(), read: ".*".to_owned() }
}

#[test]
fn only_the_right_password_opens() {
    let directory = directory();
    assert_eq!(directory.authenticate("joe", b"secret").unwrap().name, "joe");
    let refused = |name, password: &[u8]| directory.authenticate(name, password).unwrap_err().to_string();
    assert_eq!(refused("joe", b"Secret"), "user 'joe' - invalid credentials");
    assert_eq!(refused("jim", b"secret"), "user 'jim' - invalid credentials");
    assert!(refused("joe", b"").starts_with("user 'joe' attempted to log in with a blank password"));
}

#[test]
fn users_without_a_usable_hash_cannot_log_in() {
    let directory = directory();
    for password_hash in [None, Some(String::new()), Some("broken".to_owned())] {
        directory.put_user(User { password_hash, ..User::new("locked") });
        assert!(directory.authenticate("locked", b"x").is_err());
        assert!(directory.authenticate("locked", b"").is_err());
    }
    assert!(password::check(NOBODY, Hashing::Sha256).is_ok(), "an unknown user takes the same time");
}

#[test]
fn access_needs_user_and_permissions() {
    let directory = directory();
    assert!(directory.rules("joe", "/").unwrap().allows(Access::Write, "q"));
    assert!(directory.rules("joe", "other").is_none());
    assert!(directory.rules("jim", "/").is_none());
    directory.set_permissions("jim", "/", Permissions::all()).unwrap();
    assert!(directory.rules("jim", "/").is_none(), "no such user yet");
    directory.put_user(user("jim", "x"));
    assert!(directory.rules("jim", "/").is_some());
    directory.clear_permissions("joe", "/");
    assert!(directory.rules("joe", "/").is_none());
}

#[test]
fn an_invalid_pattern_changes_nothing() {
    let directory = directory();
    let broken = Permissions { write: "(".to_owned(), ..Permissions::all() };
    assert_eq!(directory.set_permissions("joe", "/", broken.clone()).unwrap_err().pattern, "(");
    assert!(directory.set_permissions("joe", "new", broken).is_err());
    assert!(directory.set_topic_permission("joe", "/", topic("t", "(")).is_err());
    assert!(directory.set_topic_permission("joe", "new", topic("t", "(")).is_err());
    assert!(directory.rules("joe", "/").unwrap().allows(Access::Write, "q"));
    assert_eq!(directory.permissions().len(), 1);
    assert!(directory.topic_permissions().is_empty());
}

#[test]
fn topic_permissions_come_and_go() {
    let directory = directory();
    let allows = |key| directory.rules("joe", "/").unwrap().topic_allows(Access::Write, "t", key);
    assert!(allows("x"));
    directory.set_topic_permission("joe", "/", topic("t", "^{username}")).unwrap();
    directory.set_topic_permission("joe", "/", topic("u", "")).unwrap();
    assert!(allows("joe.1") && !allows("x"));
    directory.clear_topic_permissions("joe", "/", Some("u"));
    assert!(!allows("x"));
    directory.clear_topic_permissions("joe", "/", None);
    assert!(allows("x"));
    directory.set_topic_permission("joe", "other", topic("t", "")).unwrap();
    assert!(directory.rules("joe", "other").is_none(), "topic permissions alone give no access");
    assert_eq!(directory.topic_permissions(), [("joe".to_owned(), "other".to_owned(), topic("t", ""))]);
}

#[test]
fn deleting_a_user_or_vhost_takes_its_permissions() {
    let directory = directory();
    directory.set_permissions("joe", "v", Permissions::all()).unwrap();
    directory.remove_vhost("/");
    assert!(directory.rules("joe", "/").is_none());
    assert_eq!(directory.permissions(), [("joe".to_owned(), "v".to_owned(), Permissions::all())]);
    assert!(directory.delete_user("joe"));
    assert!(!directory.delete_user("joe"));
    directory.put_user(user("joe", "new"));
    assert!(directory.rules("joe", "v").is_none());
    assert_eq!(directory.users().len(), 1);
}

#[test]
fn every_change_moves_the_epoch() {
    let directory = directory();
    let mut last = directory.epoch();
    let mut moved = || std::mem::replace(&mut last, directory.epoch()) < directory.epoch();
    directory.put_user(user("jim", "x"));
    assert!(moved());
    directory.set_permissions("jim", "/", Permissions::all()).unwrap();
    assert!(moved());
    directory.set_topic_permission("jim", "/", topic("t", "")).unwrap();
    assert!(moved());
    directory.clear_topic_permissions("jim", "/", None);
    assert!(moved());
    directory.clear_permissions("jim", "/");
    assert!(moved());
    directory.remove_vhost("/");
    assert!(moved());
    directory.delete_user("jim");
    assert!(moved());
    let _ = directory.authenticate("joe", b"secret");
    assert!(!moved(), "looking changes nothing");
}

#[test]
fn loopback_users_are_those_of_the_configuration() {
    let directory = directory();
    assert!(directory.is_loopback_only("guest"));
    assert!(!directory.is_loopback_only("joe"));
}

#[test]
fn a_user_survives_json_with_defaults() {
    let user: User = serde_json::from_str(r#"{"name":"joe","hashing":"rabbit_password_hashing_sha512"}"#).unwrap();
    assert_eq!(user, User { hashing: Hashing::Sha512, ..User::new("joe") });
    assert_eq!(serde_json::from_str::<User>(&serde_json::to_string(&user).unwrap()).unwrap(), user);
}
