//! What the event exchange hears of a step that is about to become visible. What is deleted tells of itself.

use super::Step;
use crate::vhost::broker::Broker;
use crate::vhost::events::told;

pub fn note(broker: &Broker, step: &Step) {
    if !broker.tells_events() {
        return;
    }
    let event = match step {
        Step::User(user) => {
            let before = broker.directory.user(&user.name);
            told::user_put(user, before.as_deref()).into_iter().for_each(|event| broker.note_event(|| event));
            return;
        }
        Step::Permission(p) => told::permission_created(p),
        Step::DropPermission(p) => told::permission("permission.deleted", &p.user, &p.vhost),
        Step::TopicPermission(p) => told::topic_permission_created(p),
        Step::DropTopicPermission(p) => told::permission("topic.permission.deleted", &p.user, &p.vhost),
        Step::Limits(limits) => told::vhost_limits_set(limits),
        Step::DropLimits(limits) => told::vhost_limits_cleared(&limits.vhost),
        Step::Policy(policy) => {
            if policy.record.operator {
                broker.note_event(|| told::operator_policy_set(&policy.record));
            }
            told::policy_set(&policy.record)
        }
        Step::DropPolicy(record) => {
            if record.operator {
                broker.note_event(|| told::parameter_cleared("operator_policy", &record.vhost, &record.name));
            }
            told::policy_cleared(record)
        }
        Step::Parameter(p) => told::parameter_set(&p.component, &p.vhost, &p.name, &told::from_text(&p.value)),
        Step::DropParameter(p) => told::parameter_cleared(&p.component, &p.vhost, &p.name),
        Step::GlobalParameter(p) => told::global_parameter_set(&p.name, &told::from_text(&p.value)),
        Step::DropGlobalParameter(p) => told::global_parameter_cleared(&p.name),
        Step::Exchange(_, record) => {
            let vhost = broker.vhost(&record.vhost);
            let policy = vhost.and_then(|vhost| vhost.policies.read().for_exchange(record).policy);
            told::exchange_created(record, policy.as_deref())
        }
        Step::Queue(record) => told::queue_created(record, None),
        Step::Bind { record, .. } => told::binding("binding.created", record),
        Step::Unbind { record, .. } => told::binding("binding.deleted", record),
        Step::Nothing
        | Step::NewVhost(..)
        | Step::Vhost(..)
        | Step::DropVhost(_)
        | Step::DropUser(_)
        | Step::DropExchange(..)
        | Step::DropQueue(..) => return,
    };
    broker.note_event(|| event);
}
