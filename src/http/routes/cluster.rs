//! The cluster's name, versions, and what can be switched on in RabbitMQ and is always on here.

use serde_json::{Value as Json, json};

use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::record::GlobalParameterRecord;
use crate::vhost::Command;
use crate::vhost::broker::CLUSTER_NAME;

pub const ROUTES: &[Route] = &[
    Route::get("/api/cluster-name", Access::Login, "The cluster's name.", Work::Quick(name)),
    Route::put("/api/cluster-name", Access::Administrator, "Rename the cluster.", Work::Blocking(rename)),
    Route::get(
        "/api/version",
        Access::Login,
        "The version of RabbitMQ that this is compatible with.",
        Work::Quick(version),
    ),
    Route::get("/api/extensions", Access::Login, "Extensions of the web console: none.", Work::Quick(extensions)),
    Route::get("/api/feature-flags", Access::Login, "RabbitMQ's feature flags, all of them on.", Work::Quick(flags)),
    Route::put(
        "/api/feature-flags/{name}/enable",
        Access::Administrator,
        "Switch a feature on, which it is.",
        Work::Quick(enable),
    ),
    Route::get(
        "/api/deprecated-features",
        Access::Login,
        "What RabbitMQ is about to drop, and whether it is used here.",
        Work::Blocking(deprecated),
    ),
    Route::get(
        "/api/deprecated-features/used",
        Access::Login,
        "Those of them that are used.",
        Work::Blocking(deprecated_used),
    ),
    Route::post(
        "/api/rebalance/queues",
        Access::Administrator,
        "Spread queues over the nodes: there is one.",
        Work::Quick(nothing),
    ),
    Route::delete("/api/reset", Access::Administrator, "Forget statistics: none are kept apart.", Work::Quick(nothing)),
    Route::delete("/api/reset/{node}", Access::Administrator, "The same of a node.", Work::Quick(nothing)),
];

fn name(call: &Call) -> Outcome {
    Answer::json(&json!({ "name": call.broker().cluster_name() }))
}

fn rename(call: &Call) -> Outcome {
    let fields = call.fields(&["name"])?;
    let name = fields.needed_text("name")?;
    if name.is_empty() || name.len() > 255 {
        return Err(ApiError::bad_request(format!("field 'name' has {} bytes, 1 to 255 are allowed", name.len())));
    }
    let parameter = GlobalParameterRecord { name: CLUSTER_NAME.to_owned(), value: json!(name).to_string() };
    let applied = call.apply(Command::SetGlobalParameter(parameter))?;
    Ok(Answer::done().after(&applied))
}

fn version(call: &Call) -> Outcome {
    Ok(Answer::text(crate::connection::login::version(call.broker())))
}

fn extensions(_: &Call) -> Outcome {
    Answer::json(&json!([]))
}

fn nothing(_: &Call) -> Outcome {
    Ok(Answer::done())
}

/// The feature flags of RabbitMQ 3.13, and what they are about.
const FLAGS: [(&str, &str); 20] = [
    ("classic_mirrored_queue_version", "Versions of classic mirrored queues"),
    ("classic_queue_type_delivery_support", "Deliveries of classic queues"),
    ("direct_exchange_routing_v2", "Routing of direct exchanges"),
    ("drop_unroutable_metric", "Count of unroutable messages that were dropped"),
    ("empty_basic_get_metric", "Count of basic.get that found nothing"),
    ("feature_flags_v2", "Feature flags, second version"),
    ("implicit_default_bindings", "Bindings of the default exchange"),
    ("listener_records_in_ets", "Where listeners are kept"),
    ("maintenance_mode_status", "Maintenance mode"),
    ("message_containers", "Messages of several protocols"),
    ("quorum_queue", "Quorum queues"),
    ("quorum_queue_non_voters", "Members of quorum queues without a vote"),
    ("restart_streams", "Restart of streams"),
    ("stream_filtering", "Filters of streams"),
    ("stream_queue", "Streams"),
    ("stream_single_active_consumer", "Single active consumers of streams"),
    ("stream_update_config_command", "Changes of streams' settings"),
    ("tracking_records_in_ets", "Where connections are tracked"),
    ("user_limits", "Limits of users"),
    ("virtual_host_metadata", "Descriptions and tags of virtual hosts"),
];

fn flags(_: &Call) -> Outcome {
    let shown = FLAGS.map(|(name, desc)| {
        json!({
            "name": name, "desc": desc, "doc_url": "", "state": "enabled", "stability": "required",
            "provided_by": "rabbit",
        })
    });
    Answer::json(&shown)
}

fn enable(call: &Call) -> Outcome {
    let name = call.path("name");
    match name == "all" || FLAGS.iter().any(|(known, _)| *known == name) {
        true => Ok(Answer::done()),
        false => Err(ApiError::bad_request(format!("unsupported feature flag '{name}'"))),
    }
}

/// What RabbitMQ 3.13 calls deprecated, and how it is told that it is used.
type Deprecated = (&'static str, &'static str, fn(&Call) -> bool);

const DEPRECATED: [Deprecated; 5] = [
    ("classic_queue_mirroring", "Policies with ha-mode", |call| {
        let mut policies = call.broker().vhosts().into_iter().flat_map(|vhost| vhost.policies(false));
        policies.any(|policy| policy.definition.settings().contains_key("ha-mode"))
    }),
    ("global_qos", "basic.qos with global=true", |_| false),
    ("management_metrics_collection", "Rates in the HTTP API", |_| false),
    ("ram_node_type", "Nodes without a disk", |_| false),
    ("transient_nonexcl_queues", "Queues that are neither durable nor exclusive", |call| {
        let is_such =
            |queue: &std::sync::Arc<crate::queue::Queue>| !queue.spec.durable && queue.spec.exclusive_owner.is_none();
        call.broker().vhosts().iter().any(|vhost| vhost.topology.read().queues.values().any(is_such))
    }),
];

fn shown((name, desc, _): &Deprecated) -> Json {
    json!({
        "name": name, "desc": desc, "doc_url": "", "deprecation_phase": "permitted_by_default", "state": "permitted",
        "provided_by": "rabbit",
    })
}

fn deprecated(_: &Call) -> Outcome {
    Answer::json(&DEPRECATED.iter().map(shown).collect::<Vec<_>>())
}

fn deprecated_used(call: &Call) -> Outcome {
    Answer::json(&DEPRECATED.iter().filter(|(.., is_used)| is_used(call)).map(shown).collect::<Vec<_>>())
}
