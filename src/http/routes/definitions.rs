//! Definitions: exported, imported as RabbitMQ does, and compared with what is there.
//!
//! A file comes as the body, or as the part `file` of a form, as web pages send it.

use axum::http::{StatusCode, header};
use serde::Serialize;

use crate::auth::Hashing;
use crate::config::OnConflict;
use crate::definitions::{Definitions, Mode, Plan, Problem, Problems, Reading, Report, export};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::logs::audit;
use crate::vhost::Applied;

const WHOLE: &str = "/api/definitions";
const OF_VHOST: &str = "/api/definitions/{vhost}";

pub const ROUTES: &[Route] = &[
    Route::get(WHOLE, Access::Administrator, "Everything that is declared, as a file.", Work::Blocking(give)),
    Route::post(WHOLE, Access::Administrator, "Imports a file, all of it or nothing.", Work::Blocking(import)),
    Route::get(OF_VHOST, Access::Administrator, "What is declared in one vhost.", Work::Blocking(give)),
    Route::post(OF_VHOST, Access::Administrator, "Imports a file into one vhost.", Work::Blocking(import)),
    Route::post(
        "/api/leveret/definitions/plan",
        Access::Administrator,
        "What a file would change; with prune=true, what would go.",
        Work::Blocking(plan),
    ),
    Route::post(
        "/api/leveret/definitions/apply",
        Access::Administrator,
        "Makes the broker as a file says; with prune=true, what is not in it goes.",
        Work::Blocking(apply),
    ),
];

/// The virtual host of the path or the query, if one is named.
fn vhost(call: &Call) -> Result<Option<&str>, ApiError> {
    let name = Some(call.path("vhost")).filter(|name| !name.is_empty()).or_else(|| call.query.get("vhost"));
    match name {
        Some(name) if call.broker().vhost(name).is_none() => Err(ApiError::bad_request("vhost_not_found")),
        name => Ok(name),
    }
}

fn give(call: &Call) -> Outcome {
    let file = export(call.broker(), vhost(call)?).map_err(|e| ApiError::internal(e.to_string()))?;
    let text = String::from_utf8(file).map_err(|e| ApiError::internal(e.to_string()))?;
    let answer = Answer::json_text(text);
    Ok(match call.query.get("download") {
        None => answer,
        Some(name) => answer.with(header::CONTENT_DISPOSITION, &format!("attachment; filename={}", file_name(name))),
    })
}

/// A name that cannot say anything else in a header.
fn file_name(name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "._-@".contains(*c);
    name.chars().filter(is_plain).take(200).collect()
}

/// The file of the request, compared with the broker.
fn planned(call: &Call, prune: bool) -> Result<Result<Plan, Problems>, ApiError> {
    let (broker, vhost) = (call.broker(), vhost(call)?);
    let file = match call.header("content-type") {
        Some(kind) if kind.starts_with("multipart/form-data") => {
            part(kind, &call.body).ok_or_else(|| ApiError::bad_request("the form has no part 'file'"))?
        }
        _ => &call.body,
    };
    let hashing = Hashing::parse(&broker.config.auth.password_hashing).unwrap_or_default();
    let skip_conflicts = broker.config.definitions.on_conflict == Some(OnConflict::Skip);
    let definitions = Definitions::parse(file, Reading { vhost, hashing });
    Ok(definitions.map(|definitions| Plan::new(broker, definitions, Mode { prune, skip_conflicts })))
}

/// Has the plan carried out, as the caller's doing.
fn carry_out(call: &Call, plan: &Plan) -> Result<Applied, Problems> {
    audit::at(&call.caller.place(), || plan.carry_out(call.broker(), call.caller.name()))
}

fn import(call: &Call) -> Outcome {
    let refused = |problems: Problems| ApiError::bad_request(problems.to_string());
    let plan = planned(call, false)?.map_err(refused)?;
    let applied = carry_out(call, &plan).map_err(refused)?;
    let report = Report::new(plan, true);
    for warning in &report.warnings {
        tracing::warn!(target: "leveret::definitions", "definitions of {}: {warning}", call.caller.name());
    }
    let s = report.summary;
    tracing::info!(
        target: "leveret::definitions",
        "{} has imported definitions: {} created, {} changed, {} as they were, {} in conflict",
        call.caller.name(),
        s.create,
        s.change,
        s.same,
        s.conflict
    );
    Ok(Answer::done().after(&applied))
}

fn plan(call: &Call) -> Outcome {
    match planned(call, call.query.is_true("prune"))? {
        Ok(plan) => Answer::json(&Report::new(plan, false)),
        Err(problems) => refused(problems, None),
    }
}

fn apply(call: &Call) -> Outcome {
    let plan = match planned(call, call.query.is_true("prune"))? {
        Ok(plan) => plan,
        Err(problems) => return refused(problems, None),
    };
    match carry_out(call, &plan) {
        Ok(applied) => {
            let report = Report::new(plan, true);
            let s = &report.summary;
            tracing::info!(
                target: "leveret::definitions",
                "{} has applied definitions: {} created, {} changed, {} deleted, {} as they were",
                call.caller.name(),
                s.create,
                s.change,
                s.delete,
                s.same
            );
            Ok(Answer::json(&report)?.after(&applied))
        }
        Err(problems) => refused(problems, Some(Report::new(plan, false))),
    }
}

/// A refusal with the list of what is wrong, and the whole comparison where there is one.
#[derive(Serialize)]
struct Refused {
    error: &'static str,
    reason: String,
    problems: Vec<Problem>,
    #[serde(flatten)]
    report: Option<Report>,
}

fn refused(problems: Problems, report: Option<Report>) -> Outcome {
    let body = Refused { error: "bad_request", reason: problems.to_string(), problems: problems.0, report };
    Answer::json_with(StatusCode::BAD_REQUEST, &body)
}

/// Longest boundary between the parts of a form, by RFC 2046: it is looked for at every byte.
const LONGEST_BOUNDARY: usize = 70;

/// The part `file` of a form.
fn part<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let boundary = content_type.split(';').find_map(|field| field.trim().strip_prefix("boundary="))?.trim_matches('"');
    if boundary.len() > LONGEST_BOUNDARY {
        return None;
    }
    let mark = format!("--{boundary}");
    let mut rest = body;
    while let Some(start) = find(rest, mark.as_bytes()) {
        let (_, after) = rest.split_at_checked(start + mark.len())?;
        let head = find(after, b"\r\n\r\n")?;
        let (headers, content) = after.split_at_checked(head + 4)?;
        let end = find(content, format!("\r\n{mark}").as_bytes())?;
        if String::from_utf8_lossy(headers).contains(" name=\"file\"") {
            return content.get(..end);
        }
        rest = content.get(end + 2..)?;
    }
    None
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len().max(1)).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_form_is_found() {
        let body =
            b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX\r\nContent-Disposition: form-data; \
            name=\"file\"; filename=\"x\"\r\nContent-Type: application/json\r\n\r\n{}\r\n--XX--\r\n";
        assert_eq!(part("multipart/form-data; boundary=XX", body), Some(&b"{}"[..]));
        let other = b"--XX\r\nContent-Disposition: form-data; name=\"a\"; filename=\"file\"\r\n\r\n1\r\n--XX--\r\n";
        assert_eq!(part("multipart/form-data; boundary=XX", other), None, "the file's own name is no part's");
        let long = "X".repeat(71);
        assert_eq!(part(&format!("multipart/form-data; boundary={long}"), &body.repeat(2)), None);
        assert_eq!(part("multipart/form-data; boundary=YY", body), None);
        assert_eq!(part("multipart/form-data; boundary=", b"--\r\n\r\n"), None);
    }
}
