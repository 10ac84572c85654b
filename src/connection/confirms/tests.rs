use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Answers as a client understands them: each outstanding publish gets exactly one fate.
fn understand(outstanding: &mut BTreeMap<u64, Option<bool>>, answer: Answer) {
    let covered: Vec<u64> = if answer.multiple {
        outstanding.range(..=answer.tag).map(|(tag, _)| *tag).collect()
    } else {
        vec![answer.tag]
    };
    for tag in covered {
        let fate = outstanding.remove(&tag).expect("answered once");
        assert_eq!(fate, Some(answer.positive), "publish {tag} has the fate that was told");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_client_learns_every_fate_once(order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 1..80)) {
        let mut confirms = Confirms::default();
        let mut outstanding: BTreeMap<u64, Option<bool>> = BTreeMap::new();
        for _ in 0..order.len() {
            outstanding.insert(confirms.publish(), None);
        }
        let mut open: Vec<u64> = outstanding.keys().copied().collect();
        for (pick, positive, tell) in order {
            let tag = open.swap_remove(pick.index(open.len()));
            confirms.settle(tag, tag, positive);
            outstanding.insert(tag, Some(positive));
            if tell {
                confirms.answers(|a| understand(&mut outstanding, a));
                prop_assert_eq!(confirms.open(), outstanding.len() as u64);
            }
        }
        confirms.answers(|a| understand(&mut outstanding, a));
        prop_assert!(outstanding.is_empty());
        prop_assert_eq!(confirms.open(), 0);
    }
}

#[test]
fn publishes_in_a_row_are_told_with_one_frame() {
    let mut confirms = Confirms::default();
    for _ in 0..100 {
        confirms.publish();
    }
    confirms.settle(1, 60, true);
    confirms.settle(61, 100, true);
    let mut answers = vec![];
    confirms.answers(|a| answers.push(a));
    assert_eq!(answers, [Answer { tag: 100, multiple: true, positive: true }]);
}
