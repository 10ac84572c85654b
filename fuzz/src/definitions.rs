//! Definitions: no file panics, what is refused changes nothing, and what is taken comes out again as what it was.

use leveret::config::Config;
use leveret::definitions::{Action, Definitions, Mode, Plan, Reading, existing, export};
use leveret::message::memory::MemoryAccount;
use leveret::persist::catalog::NoCatalog;
use leveret::vhost::Broker;

pub fn run(data: &[u8]) {
    let Ok(definitions) = Definitions::parse(data, Reading::default()) else { return };
    let memory = MemoryAccount::new(1 << 30);
    let broker = Broker::start(Config::default(), Box::new(NoCatalog), memory, None).expect("an empty broker starts");
    let before = existing(&broker, None);
    let plan = Plan::new(&broker, definitions, Mode::default());
    let taken = plan.carry_out(&broker, "guest");
    assert_eq!(taken.is_ok(), plan.problems().is_empty(), "the plan has told what happens: {taken:?}");
    if taken.is_err() {
        assert_eq!(existing(&broker, None), before);
    }
    let file = export(&broker, None).expect("everything has its JSON");
    let again = Definitions::parse(&file, Reading::default()).expect("what is exported can be imported");
    let plan = Plan::new(&broker, again, Mode { prune: true, ..Mode::default() });
    // A number with a fraction may lose its last bit when it is read.
    let differ = plan.differences.iter().filter(|d| d.action != Action::Change || !data.contains(&b'.'));
    assert_eq!(differ.count(), 0, "{:?}", plan.differences);
    broker.close();
}
