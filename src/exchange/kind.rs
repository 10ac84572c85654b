//! The types of exchanges, by the names that clients declare them with.

/// What a client declares as an exchange's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeType {
    Direct,
    Fanout,
    Topic,
    Headers,
    /// One destination for each key, by weight; few keys move when destinations come and go.
    ConsistentHash,
    /// One destination for each key: its hash modulo the number of destinations.
    ModulusHash,
    /// One destination at random.
    Random,
    /// The same, of those on the publisher's own node.
    LocalRandom,
    /// As the type that its declaration names, once the delay of a message has passed.
    Delayed,
    /// All destinations, and a new one also gets the last messages.
    RecentHistory,
    /// All destinations, except for repetitions.
    Deduplication,
}

impl ExchangeType {
    pub const ALL: [Self; 11] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::Delayed,
        Self::RecentHistory,
        Self::Deduplication,
    ];

    /// The name as it stands in exchange.declare.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::Delayed => "x-delayed-message",
            Self::RecentHistory => "x-recent-history",
            Self::Deduplication => "x-message-deduplication",
        }
    }

    /// The type of that name; names are case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
