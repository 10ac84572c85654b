//! What the first line of the log says of logging in: only what is true of the users that there are.

use crate::auth::sasl::Mechanism;
use crate::vhost::Broker;

/// How to log in, for whoever starts a broker for the first time.
pub fn login_hint(broker: &Broker) -> String {
    let mut mechanisms = broker.config.auth.mechanisms.iter().filter_map(|name| Mechanism::parse(name));
    let takes_passwords = mechanisms.any(|mechanism| Mechanism::USUAL.contains(&mechanism));
    if !broker.backends.are_internal() || !takes_passwords {
        return String::new();
    }
    if broker.directory.users().is_empty() {
        return ", there are no users: nobody can log in".to_owned();
    }
    let can_log_in = |name: &str, password: &str| {
        let knows = broker.directory.authenticate(name, password.as_bytes()).is_ok();
        knows && broker.directory.permissions().iter().any(|(user, ..)| user == name)
    };
    let where_from = |name: &str| if broker.directory.is_loopback_only(name) { " from this machine" } else { "" };
    if can_log_in("guest", "guest") {
        return match where_from("guest") {
            // An open door is worth a word.
            "" => ", log in as guest/guest from anywhere".to_owned(),
            here => format!(", log in as guest/guest{here}"),
        };
    }
    let d = &broker.config.defaults;
    if can_log_in(&d.user, d.pass.reveal()) {
        return format!(", log in as '{}'{}", d.user, where_from(&d.user));
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::message::memory::MemoryAccount;
    use crate::persist::catalog::NoCatalog;
    use crate::vhost::Command;

    fn broker(settings: &[(&str, &str)]) -> Arc<Broker> {
        let settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config = Config::load(None, &settings).unwrap();
        Broker::start(config, Box::new(NoCatalog), MemoryAccount::new(1 << 30), None).unwrap()
    }

    #[test]
    fn it_names_only_who_can_log_in() {
        assert_eq!(login_hint(&broker(&[])), ", log in as guest/guest from this machine");
        assert_eq!(login_hint(&broker(&[("loopback_users", "none")])), ", log in as guest/guest from anywhere");
        let other = broker(&[("default_user", "ann"), ("default_pass", "secret")]);
        assert_eq!(login_hint(&other), ", log in as 'ann'");
        assert_eq!(login_hint(&broker(&[("auth_mechanisms.1", "EXTERNAL")])), "", "only certificates count");
        let guest = broker(&[]);
        let mut changed = (*guest.directory.user("guest").unwrap()).clone();
        changed.password_hash = None;
        guest.apply(Command::PutUser(changed)).unwrap();
        assert_eq!(login_hint(&guest), "", "the password was changed");
        let (user, vhost) = ("guest".to_owned(), "/".to_owned());
        let shut_out = broker(&[]);
        shut_out.apply(Command::ClearPermissions { user: user.clone(), vhost }).unwrap();
        assert_eq!(login_hint(&shut_out), "");
        guest.apply(Command::DeleteUser { name: user }).unwrap();
        assert_eq!(login_hint(&guest), ", there are no users: nobody can log in");
    }
}
