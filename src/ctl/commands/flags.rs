//! Feature flags and deprecated features.

use serde_json::{Value as Json, json};

use super::CTL_AND_DIAGNOSTICS;
use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::{Failure, code};
use crate::ctl::listing::Column;
use crate::ctl::session::{Session, path};

pub const COMMANDS: &[Command] = &[
    Command::new("list_feature_flags", "Lists feature flags", list_flags).lists(FLAGS).of(CTL_AND_DIAGNOSTICS),
    Command::new("enable_feature_flag", "Enables a feature flag, or all", enable_flag)
        .takes(1, "<all | feature_flag>")
        .options(&[
            Opt::switch("opt-in", "accepted without effect"),
            Opt::switch("experimental", "accepted without effect"),
        ]),
    Command::new("list_deprecated_features", "Lists deprecated features", list_deprecated)
        .lists(DEPRECATED)
        .options(&[Opt::switch("used", "only those in use")])
        .of(CTL_AND_DIAGNOSTICS),
];

const FLAGS: &[Column] = &[
    Column::plain("name"),
    Column::plain("state"),
    Column::plain("stability"),
    Column::plain("provided_by"),
    Column::plain("desc"),
    Column::plain("doc_url"),
];
const DEPRECATED: &[Column] = &[
    Column::plain("name"),
    Column::plain("deprecation_phase"),
    Column::plain("provided_by"),
    Column::plain("desc"),
    Column::plain("doc_url"),
];

fn list_flags(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing feature flags ...")?;
    session.list("/api/feature-flags", &["name", "state"], Some)
}

fn enable_flag(session: &mut Session) -> Result<(), Failure> {
    let flag = session.argument(0);
    if flag == "all" {
        session.banner("Enabling all feature flags ...")?;
        return Ok(());
    }
    session.banner(format!("Enabling feature flag \"{flag}\" ..."))?;
    let flags = session.get("/api/feature-flags?columns=name")?;
    let is_known = |item: &Json| item.get("name").and_then(Json::as_str) == Some(&flag);
    if !flags.as_array().is_some_and(|flags| flags.iter().any(is_known)) {
        let text = format!("This feature flag is not supported by node {}", session.node());
        return Err(Failure::error(code::USAGE, text));
    }
    session.put(&path(&["feature-flags", &flag, "enable"]), &json!({}))
}

fn list_deprecated(session: &mut Session) -> Result<(), Failure> {
    let used = session.given.has("used");
    session.banner(format!("Listing {}deprecated features ...", if used { "used " } else { "" }))?;
    let route = if used { "/api/deprecated-features/used" } else { "/api/deprecated-features" };
    session.list(route, &["name", "deprecation_phase"], Some)
}
