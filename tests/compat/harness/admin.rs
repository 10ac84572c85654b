//! What an operator does: users, vhosts, permissions, limits, policies. Each is one line as for `rabbitmqctl`.

use std::process;

use leveret::auth::{Hashing, Permissions, TopicPermission, User, password};
use leveret::node::Node;
use leveret::persist::record::{PermissionRecord, PolicyRecord, TopicPermissionRecord, VhostLimitsRecord};
use leveret::queue::settings::Settings;
use leveret::vhost::broker::default_vhost;
use leveret::vhost::command::Command;
use leveret::vhost::policies::{EffectivePolicy, from_json};

use super::Broker;
use super::broker::Inside;

impl Broker {
    pub fn add_user(&self, name: &str, password: &str) {
        self.ctl(&["add_user", name, password]);
    }

    pub fn set_user_tags(&self, name: &str, tags: &str) {
        self.ctl(&["set_user_tags", name, tags]);
    }

    pub fn add_vhost(&self, name: &str) {
        self.ctl(&["add_vhost", name]);
    }

    pub fn delete_vhost(&self, name: &str) {
        self.ctl(&["delete_vhost", name]);
    }

    /// Turns the firehose of a virtual host on or off.
    pub fn set_tracing(&self, vhost: &str, on: bool) {
        self.ctl(&[if on { "trace_on" } else { "trace_off" }, "-p", vhost]);
    }

    pub fn set_permissions(&self, user: &str, vhost: &str, configure: &str, write: &str, read: &str) {
        self.ctl(&["set_permissions", "-p", vhost, user, configure, write, read]);
    }

    pub fn set_topic_permissions(&self, user: &str, vhost: &str, exchange: &str, write: &str, read: &str) {
        self.ctl(&["set_topic_permissions", "-p", vhost, user, exchange, write, read]);
    }

    /// `limits` is a JSON object: `max-connections`, `max-queues`.
    pub fn set_vhost_limits(&self, vhost: &str, limits: &str) {
        self.ctl(&["set_vhost_limits", "-p", vhost, limits]);
    }

    /// `limits` is a JSON object: `max-connections`, `max-channels`.
    pub fn set_user_limits(&self, user: &str, limits: &str) {
        self.ctl(&["set_user_limits", user, limits]);
    }

    pub fn clear_user_limits(&self, user: &str) {
        self.ctl(&["clear_user_limits", user, "all"]);
    }

    /// Sets a policy from its JSON, as the HTTP API would, and gives back why it is refused. Only for a broker in this process.
    pub fn set_policy(&self, name: &str, policy: serde_json::Value, operator: bool) -> Result<(), String> {
        let record: PolicyRecord = from_json("/", name, &policy, operator)?;
        self.apply_inside(Command::SetPolicy(record))
    }

    pub fn clear_policy(&self, name: &str, operator: bool) -> Result<(), String> {
        self.apply_inside(Command::ClearPolicy { vhost: "/".into(), name: name.into(), operator })
    }

    fn apply_inside(&self, command: Command) -> Result<(), String> {
        let Inside { runtime, node, .. } = self.inside().expect("a broker in this process");
        let broker = node.as_ref().expect("it runs").broker();
        let applied = broker.apply(command).map_err(|refusal| refusal.text)?;
        if let Some(number) = applied.durable_at {
            runtime.block_on(broker.durable(number)).expect("the command is durable");
        }
        Ok(())
    }

    /// What is in force for a queue.
    pub fn settings(&self, queue: &str) -> Settings {
        let node = self.inside().and_then(|inside| inside.node.as_ref()).expect("a broker in this process");
        let vhost = node.broker().vhost("/").expect("the virtual host");
        Settings::clone(&vhost.queue(queue).expect("the queue").settings())
    }

    pub fn effective_policy(&self, queue: &str) -> EffectivePolicy {
        let node = self.inside().and_then(|inside| inside.node.as_ref()).expect("a broker in this process");
        let vhost = node.broker().vhost("/").expect("the virtual host");
        vhost.effective_policy(&vhost.queue(queue).expect("the queue"))
    }

    pub fn close_all_user_connections(&self, user: &str, reason: &str) {
        self.ctl(&["close_all_user_connections", user, reason]);
    }

    /// False where the tests have no way to administer the broker; the test is then skipped.
    pub fn can_be_administered(&self) -> bool {
        let can = self.inside().is_some() || ctl_command().is_some();
        if !can {
            eprintln!("skipped: LEVERET_TEST_CTL is not set");
        }
        can
    }

    fn ctl(&self, words: &[&str]) {
        match self.inside() {
            Some(Inside { runtime, node: Some(node), .. }) => runtime.block_on(apply(node, words)),
            _ => run_ctl(words),
        }
    }
}

/// The one place where a line is turned into the broker's own commands.
async fn apply(node: &Node, words: &[&str]) {
    let command = match *words {
        ["add_user", name, password] => Command::PutUser(new_user(name, password)),
        ["set_user_tags", name, tag] => Command::PutUser(User { tags: vec![tag.into()], ..user(node, name) }),
        ["set_user_limits", name, limits] => set_user_limits(name, limits),
        ["clear_user_limits", name, "all"] => Command::ClearUserLimits { user: name.into() },
        ["add_vhost", name] => Command::PutVhost(default_vhost(name)),
        ["delete_vhost", name] => Command::DeleteVhost { name: name.into(), even_protected: false },
        ["set_vhost_limits", "-p", vhost, limits] => {
            let limits: serde_json::Value = serde_json::from_str(limits).expect("limits in JSON");
            let limit = |name| limits.get(name).and_then(serde_json::Value::as_i64);
            let (max_connections, max_queues) = (limit("max-connections"), limit("max-queues"));
            Command::SetVhostLimits(VhostLimitsRecord { vhost: vhost.into(), max_connections, max_queues })
        }
        ["set_permissions", "-p", vhost, user, configure, write, read] => {
            let (user, vhost) = (user.into(), vhost.into());
            let permissions = Permissions { configure: configure.into(), write: write.into(), read: read.into() };
            Command::SetPermissions(PermissionRecord { user, vhost, permissions })
        }
        ["set_topic_permissions", "-p", vhost, user, exchange, write, read] => {
            let (user, vhost) = (user.into(), vhost.into());
            let permission = TopicPermission { exchange: exchange.into(), write: write.into(), read: read.into() };
            Command::SetTopicPermissions(TopicPermissionRecord { user, vhost, permission })
        }
        [switch @ ("trace_on" | "trace_off"), "-p", vhost] => {
            return node.broker().vhost(vhost).expect("the virtual host").set_tracing(switch == "trace_on");
        }
        ["close_all_user_connections", user, reason] => {
            return node.connections().close_where(reason, |connection| &*connection.user == user);
        }
        _ => panic!("the harness cannot do this yet: {}", words.join(" ")),
    };
    let applied = node.broker().apply(command).expect("the broker takes the command");
    if let Some(number) = applied.durable_at {
        node.broker().durable(number).await.expect("the command is durable");
    }
}

fn new_user(name: &str, password: &str) -> User {
    let hash = password::hash(password.as_bytes(), Hashing::default()).expect("a hash");
    User { password_hash: Some(hash), ..User::new(name) }
}

fn user(node: &Node, name: &str) -> User {
    let user = node.broker().directory.user(name).expect("the user exists");
    User::clone(&user)
}

fn set_user_limits(user: &str, limits: &str) -> Command {
    let limits: serde_json::Value = serde_json::from_str(limits).expect("limits in JSON");
    let limit = |name| limits.get(name).and_then(serde_json::Value::as_i64);
    let (max_connections, max_channels) = (limit("max-connections"), limit("max-channels"));
    Command::SetUserLimits { user: user.into(), max_connections, max_channels }
}

/// Limits of the shared broker's vhosts, by the beginnings of their names.
pub const VHOST_LIMITS: [(&str, &str); 4] = [
    ("default_limits.vhosts.1.pattern", "^one-connection"),
    ("default_limits.vhosts.1.max_connections", "1"),
    ("default_limits.vhosts.2.pattern", "^one-queue"),
    ("default_limits.vhosts.2.max_queues", "1"),
];

fn ctl_command() -> Option<String> {
    std::env::var("LEVERET_TEST_CTL").ok()
}

fn run_ctl(words: &[&str]) {
    let command = ctl_command().expect("LEVERET_TEST_CTL names rabbitmqctl");
    let output = process::Command::new(command).args(words).output().expect("rabbitmqctl runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
