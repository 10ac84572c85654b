//! One object of a list, field by field: only what the request asks for is looked up.

use serde_json::{Map, Value as Json};

/// Which fields are wanted: all, or some, each perhaps with a way further in (`message_stats.publish_details.rate`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(Option<Vec<Vec<String>>>);

impl Columns {
    pub fn all() -> Self {
        Self(None)
    }

    /// From `columns=a,b.c`; without it, all.
    pub fn parse(text: Option<&str>) -> Self {
        let words = |column: &str| column.split('.').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let columns = text.map(|text| text.split(',').map(words).filter(|c| !c.is_empty()).collect());
        Self(columns.filter(|columns: &Vec<_>| !columns.is_empty()))
    }

    pub fn one(column: &str) -> Self {
        Self::parse(Some(column))
    }

    /// Whether the field, or something in it, is wanted.
    pub fn wants(&self, field: &str) -> bool {
        match &self.0 {
            None => true,
            Some(columns) => columns.iter().any(|column| column.first().is_some_and(|first| first == field)),
        }
    }

    /// What is wanted inside of a field.
    fn inside(&self, field: &str) -> Self {
        let Some(columns) = &self.0 else { return Self(None) };
        let mut inside = Vec::new();
        for column in columns.iter().filter(|column| column.first().is_some_and(|first| first == field)) {
            match column.get(1..) {
                Some([]) | None => return Self(None),
                Some(rest) => inside.push(rest.to_vec()),
            }
        }
        Self(Some(inside))
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
}
