use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Deliver {
        needs_ack: bool,
    },
    Settle {
        tag: u64,
        multiple: bool,
    },
    Drain,
    /// Settles a tag and takes it back.
    RollBack {
        tag: u64,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::bool::weighted(0.8).prop_map(|needs_ack| Step::Deliver { needs_ack }),
        5 => (0u64..80, prop::bool::weighted(0.2)).prop_map(|(tag, multiple)| Step::Settle { tag, multiple }),
        1 => Just(Step::Drain),
        1 => (0u64..80).prop_map(|tag| Step::RollBack { tag }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn tags_are_settled_as_in_a_plain_map(steps in prop::collection::vec(any_step(), 1..200)) {
        let mut ledger = Ledger::default();
        let mut model = BTreeMap::new();
        let mut last = 0;
        for step in steps {
            match step {
                Step::Deliver { needs_ack } => {
                    last += 1;
                    prop_assert_eq!(ledger.next_tag(), last);
                    if needs_ack {
                        ledger.note(last * 10, 1, 0);
                        model.insert(last, last * 10);
                    }
                }
                Step::Settle { tag, multiple } => {
                    let mut settled = vec![];
                    let answer = ledger.settle(tag, multiple, |u| settled.push((u.tag, u.position)));
                    let expected: Vec<_> = match (multiple, tag) {
                        (true, 0) => std::mem::take(&mut model).into_iter().collect(),
                        _ if !model.contains_key(&tag) => {
                            prop_assert_eq!(answer, Err(UnknownTag(tag)));
                            vec![]
                        }
                        (true, _) => {
                            let later = model.split_off(&(tag + 1));
                            std::mem::replace(&mut model, later).into_iter().collect()
                        }
                        (false, _) => model.remove_entry(&tag).into_iter().collect(),
                    };
                    prop_assert_eq!(settled, expected);
                }
                Step::Drain => {
                    let mut settled = vec![];
                    ledger.drain(|u| settled.push(u.tag));
                    prop_assert_eq!(settled, std::mem::take(&mut model).into_keys().collect::<Vec<_>>());
                }
                Step::RollBack { tag } => {
                    let mut settled = vec![];
                    if ledger.settle(tag, false, |u| settled.push(u)).is_ok() {
                        ledger.restore(settled);
                    }
                }
            }
            prop_assert_eq!(ledger.outstanding(), model.len());
            prop_assert_eq!(ledger.waiting().next().map(|u| u.tag), model.keys().next().copied());
        }
    }
}
