//! How often and with what seed a test is run.

use leveret::persist::sim::Random;

/// How often, unless the environment says otherwise.
pub fn count(usual: u64) -> u64 {
    from_environment("LEVERET_CRASH_COUNT").unwrap_or(usual)
}

/// Random numbers; the seed is printed, so that a failure can be repeated.
pub fn random() -> Random {
    let fresh = || getrandom::u64().expect("there is randomness");
    let seed = from_environment("LEVERET_CRASH_SEED").unwrap_or_else(fresh);
    eprintln!("LEVERET_CRASH_SEED={seed}");
    Random::new(seed)
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}
