//! Values of JSON as RabbitMQ's texts show them: as Erlang's terms.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// The term for a value.
pub fn term(value: &Json) -> String {
    let mut out = String::new();
    put(&mut out, value);
    out
}

/// The term for settings: a list of pairs.
pub fn pairs<'a>(settings: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let pairs: Vec<_> = settings.map(|(key, value)| format!("{{{},{}}}", binary(key), term(value))).collect();
    format!("[{}]", pairs.join(","))
}

fn binary(text: &str) -> String {
    let suffix = if text.chars().all(|c| u32::from(c) < 256) { "" } else { "/utf8" };
    format!("<<\"{}\"{suffix}>>", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn put(out: &mut String, value: &Json) {
    match value {
        Json::Null => out.push_str("null"),
        Json::String(text) => out.push_str(&binary(text)),
        Json::Array(items) => {
            out.push('[');
            put_separated(out, items.iter(), put);
            out.push(']');
        }
        Json::Object(map) => {
            out.push_str("#{");
            put_separated(out, map.iter(), |out, (key, value)| {
                out.push_str(&binary(key));
                out.push_str(" => ");
                put(out, value);
            });
            out.push('}');
        }
        // A string takes everything.
        other => drop(write!(out, "{other}")),
    }
}

fn put_separated<T>(out: &mut String, items: impl Iterator<Item = T>, put_one: impl Fn(&mut String, T)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        put_one(out, item);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_look_as_erlang_shows_them() {
        let value = json!({"a": [1, "b", null, true, 1.5], "ш": {}});
        assert_eq!(term(&value), r#"#{<<"a">> => [1,<<"b">>,null,true,1.5],<<"ш"/utf8>> => #{}}"#);
    }
}
