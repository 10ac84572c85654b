use proptest::prelude::*;

use super::*;
use crate::persist::record::{ApplyTo, PolicyRecord};

const QUEUES: [&str; 4] = ["a", "ab", "b", "c"];
const EXCHANGES: [&str; 3] = ["a", "b", "x"];

#[derive(Clone, Debug)]
enum Change {
    Put(PolicyRecord),
    Remove { name: String, operator: bool },
}

fn change() -> impl Strategy<Value = Change> {
    let name = || prop::sample::select(vec!["p", "q", "r", "s"]);
    let pattern = prop::sample::select(vec!["", "a", "^b", "b$", "^(a|c)"]);
    let apply_to = prop::sample::select(vec![ApplyTo::All, ApplyTo::Queues, ApplyTo::Exchanges, ApplyTo::QuorumQueues]);
    let put = (name(), any::<bool>(), pattern, apply_to, -1_i64..2, 0..3).prop_map(
        |(name, operator, pattern, apply_to, priority, length)| {
            let alternate = if operator { "" } else { r#","alternate-exchange":"rest""# };
            Change::Put(PolicyRecord {
                vhost: "/".into(),
                name: name.into(),
                operator,
                pattern: pattern.into(),
                apply_to,
                priority,
                definition: format!(r#"{{"max-length":{length}{alternate}}}"#),
            })
        },
    );
    let remove = (name(), any::<bool>()).prop_map(|(name, operator)| Change::Remove { name: name.into(), operator });
    prop_oneof![3 => put, 1 => remove]
}

fn exchange(name: &str) -> ExchangeRecord {
    ExchangeRecord {
        vhost: "/".into(),
        name: name.into(),
        kind: "direct".into(),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
        id: 0,
    }
}

proptest! {
    /// Looking only at what a change concerns comes to the same as looking at everything.
    #[test]
    fn after_each_change_everything_has_what_it_would_have_if_it_were_new(
        // Each change with whether its queues are told, or only with the next one: as with two at a time.
        changes in prop::collection::vec((change(), any::<bool>()), 1..30)
    ) {
        let arguments = Table::default();
        let mut policies = Policies::default();
        let mut queues = QUEUES.map(|name| (name, policies.for_queue(name, &arguments).0));
        let mut exchanges = EXCHANGES.map(|name| (exchange(name), policies.for_exchange(&exchange(name))));
        let mut pending = Vec::new();
        for (change, told) in changes {
            let (name, operator) = match change {
                Change::Put(record) => {
                    let changed = (record.name.clone(), record.operator);
                    policies.put(Arc::new(Policy::new(record).unwrap()));
                    changed
                }
                Change::Remove { name, operator } => {
                    policies.take(operator, &name);
                    (name, operator)
                }
            };
            pending.push(Changed { name: name.as_str().into(), operator });
            if !told {
                continue;
            }
            for changed in pending.drain(..) {
                for (name, settings) in &mut queues {
                    if let Some((after, _)) = policies.after_for_queue(&changed, name, &arguments, settings) {
                        *settings = after;
                    }
                }
                for (record, settings) in &mut exchanges {
                    if let Some(after) = policies.after_for_exchange(&changed, record, settings) {
                        *settings = after;
                    }
                }
            }
            for (name, settings) in &queues {
                prop_assert_eq!(settings, &policies.for_queue(name, &arguments).0);
            }
            for (record, settings) in &exchanges {
                prop_assert_eq!(settings, &policies.for_exchange(record));
            }
        }
    }
}
