//! The keys of classic mirroring, `ha-*`, which are checked together.

use serde_json::Value as Json;

use super::term::term;

/// Checks the mirroring in a definition.
pub fn check(settings: &serde_json::Map<String, Json>) -> Result<(), String> {
    let Some(mode) = settings.get("ha-mode") else {
        return match settings.keys().find(|key| key.starts_with("ha-")) {
            Some(_) => {
                Err("ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown".into())
            }
            None => Ok(()),
        };
    };
    check_params(mode, settings.get("ha-params"))?;
    let one_of = |key: &str, known: [&str; 2]| match settings.get(key) {
        None => Ok(()),
        Some(value) if value.as_str().is_some_and(|text| known.contains(&text)) => Ok(()),
        Some(value) => {
            let [a, b] = known;
            Err(format!("{key} must be \"{a}\" or \"{b}\", got {}", term(value)))
        }
    };
    one_of("ha-sync-mode", ["manual", "automatic"])?;
    one_of("ha-promote-on-shutdown", ["always", "when-synced"])?;
    one_of("ha-promote-on-failure", ["always", "when-synced"])?;
    match settings.get("ha-sync-batch-size") {
        Some(size) if size.as_i64().is_none_or(|n| n < 1) => {
            Err(format!("ha-sync-batch-size takes an integer, {} given", term(size)))
        }
        _ => Ok(()),
    }
}

fn check_params(mode: &Json, params: Option<&Json>) -> Result<(), String> {
    let given = params.map_or_else(|| "none".to_owned(), term);
    match (mode.as_str(), params) {
        (Some("all"), None) => Ok(()),
        (Some("all"), Some(_)) => Err("ha-mode=\"all\" does not take parameters".into()),
        (Some("exactly"), Some(n)) if n.as_i64().is_some_and(|n| n > 0) => Ok(()),
        (Some("exactly"), _) => Err(format!("ha-mode=\"exactly\" takes an integer, {given} given")),
        (Some("nodes"), Some(Json::Array(nodes))) if nodes.is_empty() => {
            Err("ha-mode=\"nodes\" list must be non-empty".into())
        }
        (Some("nodes"), Some(Json::Array(nodes))) => {
            match nodes.iter().filter(|n| !n.is_string()).collect::<Vec<_>>() {
                strange if strange.is_empty() => Ok(()),
                strange => {
                    let strange = Json::Array(strange.into_iter().cloned().collect());
                    Err(format!("ha-mode=\"nodes\" takes a list of strings, {} was not a string", term(&strange)))
                }
            }
        }
        (Some("nodes"), _) => Err(format!("ha-mode=\"nodes\" takes a list, {given} given")),
        _ => Err(format!("{} is not a valid ha-mode value", term(mode))),
    }
}
