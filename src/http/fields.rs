//! One object of a list, field by field: only what the request asks for is looked up.

use serde_json::{Map, Value as Json};

use super::Call;

/// Which fields are wanted: all, or some, each perhaps with a way further in (`message_stats.publish_details.rate`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(Option<Vec<Vec<String>>>, Shown);

/// Which figures are shown at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    All,
    /// None of what was counted: the mode of rates `none`.
    NoRates,
    /// Nothing that changes by itself, but numbers of messages.
    Totals,
    /// Nothing that changes by itself.
    NoStats,
}

/// What has been counted.
const RATES: [&str; 5] = ["message_stats", "incoming", "outgoing", "deliveries", "publishes"];
/// Numbers of messages.
const TOTALS: [&str; 4] = ["messages", "messages_ready", "messages_unacknowledged", "queue_totals"];
/// What else changes by itself.
const OTHERS: [&str; 29] = [
    "messages_details",
    "messages_ready_details",
    "messages_unacknowledged_details",
    "messages_ram",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "messages_paged_out",
    "messages_persistent",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes_ram",
    "message_bytes_paged_out",
    "message_bytes_persistent",
    "head_message_timestamp",
    "memory",
    "consumers",
    "consumer_capacity",
    "consumer_utilisation",
    "consumer_details",
    "idle_since",
    "recv_oct",
    "recv_oct_details",
    "recv_cnt",
    "send_oct",
    "send_oct_details",
    "send_cnt",
    "send_pend",
    "churn_rates",
];

impl Shown {
    fn hides(self, field: &str) -> bool {
        let is = |fields: &[&str]| fields.contains(&field);
        match self {
            Self::All => false,
            Self::NoRates => is(&RATES),
            Self::Totals => is(&RATES) || is(&OTHERS),
            Self::NoStats => is(&RATES) || is(&OTHERS) || is(&TOTALS),
        }
    }
}

impl Columns {
    pub fn all() -> Self {
        Self::default()
    }

    /// Those that a request wants and gets to see.
    pub fn of(call: &Call) -> Self {
        Self(Self::parse(call.query.get("columns")).0, call.shown())
    }

    /// From `columns=a,b.c`; without it, all.
    pub fn parse(text: Option<&str>) -> Self {
        let words = |column: &str| column.split('.').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let columns = text.map(|text| text.split(',').map(words).filter(|c| !c.is_empty()).collect());
        Self(columns.filter(|columns: &Vec<_>| !columns.is_empty()), Shown::All)
    }

    pub fn one(column: &str) -> Self {
        Self::parse(Some(column))
    }

    /// Whether the field, or something in it, is wanted.
    pub fn wants(&self, field: &str) -> bool {
        match &self.0 {
            _ if self.1.hides(field) => false,
            None => true,
            Some(columns) => columns.iter().any(|column| column.first().is_some_and(|first| first == field)),
        }
    }

    /// What is wanted inside of a field.
    fn inside(&self, field: &str) -> Self {
        let Some(columns) = &self.0 else { return Self::all() };
        let mut inside = Vec::new();
        for column in columns.iter().filter(|column| column.first().is_some_and(|first| first == field)) {
            match column.get(1..) {
                Some([]) | None => return Self::all(),
                Some(rest) => inside.push(rest.to_vec()),
            }
        }
        Self(Some(inside), Shown::All)
    }

    /// What is left of a value.
    fn cut(&self, value: Json) -> Json {
        match (value, &self.0) {
            (value, None) => value,
            (Json::Object(map), Some(_)) => {
                let wanted = map.into_iter().filter(|(key, _)| self.wants(key));
                Json::Object(wanted.map(|(key, value)| (key.clone(), self.inside(&key).cut(value))).collect())
            }
            (Json::Array(items), Some(_)) => items.into_iter().map(|item| self.cut(item)).collect(),
            (other, Some(_)) => other,
        }
    }
}

/// An object that is being put together.
pub struct Fields<'a> {
    columns: &'a Columns,
    map: Map<String, Json>,
}

impl<'a> Fields<'a> {
    pub fn new(columns: &'a Columns) -> Self {
        Self { columns, map: Map::new() }
    }

    /// Whether it is worth finding out.
    pub fn wants(&self, field: &str) -> bool {
        self.columns.wants(field)
    }

    /// Adds a field, when it is wanted.
    pub fn put<V: Into<Json>>(&mut self, field: &str, value: impl FnOnce() -> V) {
        if self.columns.wants(field) {
            let value = self.columns.inside(field).cut(value().into());
            self.map.insert(field.to_owned(), value);
        }
    }

    pub fn finish(self) -> Json {
        Json::Object(self.map)
    }
}

/// What stands at the end of a way such as `message_stats.publish`.
pub fn at<'a>(value: &'a Json, way: &str) -> Option<&'a Json> {
    way.split('.').try_fold(value, |value, word| value.get(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_go_as_deep_as_they_are_asked_to() {
        let columns = Columns::parse(Some("name,stats.publish.rate,stats.ack"));
        let mut fields = Fields::new(&columns);
        fields.put("name", || "q");
        fields.put("vhost", || -> &str { panic!("nobody wants it") });
        fields.put("stats", || json!({ "publish": { "rate": 1, "total": 2 }, "ack": { "rate": 3 }, "get": 4 }));
        let expected = json!({ "name": "q", "stats": { "publish": { "rate": 1 }, "ack": { "rate": 3 } } });
        assert_eq!(fields.finish(), expected);
        assert_eq!(Columns::parse(Some("")), Columns::all());
    }

    #[test]
    fn what_is_not_to_be_seen_is_not_looked_up() {
        let fields = ["name", "messages", "messages_details", "message_stats"];
        for (shown, expected) in [
            (Shown::All, &fields[..]),
            (Shown::NoRates, &fields[..3]),
            (Shown::Totals, &fields[..2]),
            (Shown::NoStats, &fields[..1]),
        ] {
            let columns = Columns(None, shown);
            let seen: Vec<_> = fields.into_iter().filter(|field| columns.wants(field)).collect();
            assert_eq!(seen, expected, "{shown:?}");
        }
    }
}
