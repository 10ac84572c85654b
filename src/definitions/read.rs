//! A file's items as records of the catalog: RabbitMQ's format, of 3.8 to 4.x, and what other versions left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::item::{Item, expected};
use super::problem::{self, Problem, Problems};
use crate::auth::{Hashing, Permissions, TopicPermission, User, password};
use crate::frames::Value;
use crate::persist::Record;
use crate::persist::record::{
    BindingRecord, ExchangeRecord, GlobalParameterRecord, ParameterRecord, PermissionRecord, QueueRecord,
    TopicPermissionRecord, VhostLimitsRecord, VhostRecord,
};
use crate::plugins::absent_component;
use crate::queue::arguments::QUEUE_TYPE;
use crate::vhost::policies;

/// The sections, and the fields of their items that are known. Those of RabbitMQ that mean nothing here are among them.
const SECTIONS: [(&str, &[&str]); 10] = [
    ("users", &["name", "password_hash", "hashing_algorithm", "tags", "limits", "password"]),
    (
        "vhosts",
        &[
            "name",
            "description",
            "tags",
            "default_queue_type",
            "protected_from_deletion",
            "metadata",
            "limits",
            "tracing",
            "cluster_state",
        ],
    ),
    ("permissions", &["user", "vhost", "configure", "write", "read"]),
    ("topic_permissions", &["user", "vhost", "exchange", "write", "read"]),
    ("parameters", &["vhost", "component", "name", "value"]),
    ("global_parameters", &["name", "value"]),
    ("policies", &["vhost", "name", "pattern", "apply-to", "definition", "priority"]),
    ("queues", &["name", "vhost", "type", "durable", "auto_delete", "arguments", "arguments_amqp", "store_id"]),
    (
        "exchanges",
        &["name", "vhost", "type", "durable", "auto_delete", "internal", "arguments", "arguments_amqp", "store_id"],
    ),
    ("bindings", &["source", "vhost", "destination", "destination_type", "routing_key", "arguments", "arguments_amqp"]),
];

/// The sections of a file of one virtual host.
const OF_VHOST: [&str; 5] = ["parameters", "policies", "queues", "exchanges", "bindings"];

/// What else RabbitMQ and this broker write at the top.
const HEADER: [&str; 9] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "leveret",
];

/// How a file is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// The one virtual host that it is for.
    pub vhost: Option<&'a str>,
    /// The algorithm of hashes of which the file does not say it, and of passwords.
    pub hashing: Hashing,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Definitions {
    /// In the order in which they are loaded, each once.
    pub records: Vec<Record>,
    /// Passwords that were given as such, by user.
    pub passwords: HashMap<String, String>,
    /// Users of whose limits the file says nothing.
    pub without_limits: HashSet<String>,
    /// Sections that are there: of others the file says nothing.
    pub sections: BTreeSet<&'static str>,
    /// The one virtual host that it is for.
    pub vhost: Option<String>,
    pub warnings: Vec<String>,
}

impl Definitions {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(bytes: &[u8], reading: Reading<'_>) -> Result<Self, Problems> {
        let file = |reason: String| Problem { item: "the definitions".to_owned(), field: None, reason };
        let json: Json = serde_json::from_slice(bytes).map_err(|e| file(format!("they are not JSON: {e}")))?;
        let Json::Object(top) = &json else { return Err(file(expected("a JSON object", &json)).into()) };
        let mut reader =
            Reader { reading, top, problems: Vec::new(), found: Self::default(), unknown: BTreeMap::new() };
        reader.found.vhost = reading.vhost.map(str::to_owned);
        reader.read();
        if !reader.problems.is_empty() {
            return Err(Problems(reader.problems));
        }
        let mut found = reader.found;
        let unknown = reader.unknown.into_iter();
        found.warnings.extend(
            unknown.map(|((section, field), count)| format!("{section}: unknown field '{field}' ({count} items)")),
        );
        found.records.sort_by_key(Record::rank);
        Ok(found)
    }
}

struct Reader<'a> {
    reading: Reading<'a>,
    top: &'a Map<String, Json>,
    problems: Vec<Problem>,
    found: Definitions,
    /// Fields that nobody knows, by section, and how many items have them.
    unknown: BTreeMap<(&'static str, &'a str), usize>,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        let mut seen = HashMap::new();
        for (section, known) in SECTIONS {
            let Some(value) = self.top.get(section) else { continue };
            if self.reading.vhost.is_some() && !OF_VHOST.contains(&section) {
                self.found.warnings.push(format!("section '{section}' is not imported into a single vhost"));
                continue;
            }
            let Json::Array(items) = value else {
                let reason = expected("a list", value);
                self.problems.push(Problem { item: section.to_owned(), field: None, reason });
                continue;
            };
            self.found.sections.insert(section);
            self.found.warnings.extend((section == "parameters").then(|| without_effect(items)).into_iter().flatten());
            for (index, item) in items.iter().enumerate() {
                self.read_item(section, known, index, item, &mut seen);
            }
        }
        for key in self.top.keys() {
            if !HEADER.contains(&key.as_str()) && !SECTIONS.iter().any(|(section, _)| section == key) {
                self.found.warnings.push(format!("unknown field '{key}'"));
            }
        }
    }

    fn read_item(
        &mut self,
        section: &'static str,
        known: &[&str],
        index: usize,
        item: &'a Json,
        seen: &mut HashMap<Vec<u8>, usize>,
    ) {
        let Json::Object(fields) = item else {
            let reason = expected("an object", item);
            self.problems.push(Problem { item: format!("{section}[{index}]"), field: None, reason });
            return;
        };
        for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
            *self.unknown.entry((section, field)).or_default() += 1;
        }
        for record in self.records(section, index, fields) {
            let at = self.found.records.len();
            match seen.entry(comparable(&record).key()) {
                std::collections::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(at);
                    self.found.records.push(record);
                }
                std::collections::hash_map::Entry::Occupied(first) => self.repeated(*first.get(), &record),
            }
        }
    }

    fn repeated(&mut self, first: usize, record: &Record) {
        let item = problem::item(record);
        let is_same = self.found.records.get(first).is_some_and(|first| comparable(first) == comparable(record));
        if is_same {
            self.found.warnings.push(format!("{item} is there twice"));
        } else {
            let reason = "it is there twice, and the two differ".to_owned();
            self.problems.push(Problem { item, field: None, reason });
        }
    }

    fn records(&mut self, section: &'static str, index: usize, fields: &'a Map<String, Json>) -> Vec<Record> {
        let what = named(section, index, fields, self.reading.vhost);
        let mut item = Item::new(what, fields, self.reading.vhost, &mut self.problems);
        let record = match section {
            "users" => {
                let version = self.top.get("rabbit_version").and_then(Json::as_str);
                let record = user(&mut item, self.reading.hashing, version, &mut self.found.passwords);
                if let Some(Record::User(user)) = record.as_ref().filter(|_| item.get("limits").is_none()) {
                    self.found.without_limits.insert(user.name.clone());
                }
                record
            }
            "vhosts" => return vhost(&mut item).unwrap_or_default(),
            "permissions" => permission(&mut item),
            "topic_permissions" => topic_permission(&mut item),
            "parameters" => parameter(&mut item),
            "global_parameters" => global_parameter(&mut item),
            "policies" => policy(&mut item, fields),
            "queues" => queue(&mut item),
            "exchanges" => exchange(&mut item),
            _ => binding(&mut item),
        };
        record.into_iter().collect()
    }
}

/// What an item is called before it is known whether it is one.
fn named(section: &str, index: usize, fields: &Map<String, Json>, scope: Option<&str>) -> String {
    let text = |key: &str| fields.get(key).and_then(Json::as_str);
    let in_vhost = scope.or_else(|| text("vhost")).map(|v| format!(" in vhost '{v}'")).unwrap_or_default();
    let singular = section.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let singular = singular.unwrap_or_else(|| section.strip_suffix('s').unwrap_or(section).replace('_', " "));
    match (text("name"), text("user"), text("source"), text("destination")) {
        (Some(name), ..) => format!("{singular} '{name}'{in_vhost}"),
        (_, Some(user), ..) => format!("{singular} of user '{user}'{in_vhost}"),
        (_, _, Some(source), Some(destination)) => format!("binding of '{destination}' to '{source}'{in_vhost}"),
        _ => format!("{section}[{index}]"),
    }
}

/// A record as it is compared with others: whether an integer is short or long makes no difference, and numbers in the store
/// do not count.
pub fn comparable(record: &Record) -> Record {
    let mut record = record.clone();
    match &mut record {
        Record::Queue(q) => (q.arguments, q.id) = (widened(&q.arguments), 0),
        Record::Exchange(e) => (e.arguments, e.id) = (widened(&e.arguments), 0),
        Record::Binding(b) => b.arguments = widened(&b.arguments),
        _ => {}
    }
    record
}

fn widened(table: &crate::frames::Table) -> crate::frames::Table {
    if table.is_empty() {
        return crate::frames::Table::default();
    }
    let table: crate::frames::Table = table.iter().map(|(key, value)| (key, wide(value))).collect();
    table.sorted()
}

fn wide(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(wide).collect()),
        Value::Table(table) => Value::Table(widened(table)),
        Value::Timestamp(_) => value.clone(),
        other => other.as_int().map_or_else(|| other.clone(), Value::I64),
    }
}

/// The algorithm of a hash of which the file does not say it: RabbitMQ had MD5 before 3.6.
fn hashing_of(version: Option<&str>, default: Hashing) -> Hashing {
    let mut numbers = version.unwrap_or_default().split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(..3)), _) | (Some(Ok(3)), Some(Ok(..6))) => Hashing::Md5,
        _ => default,
    }
}

fn user(
    item: &mut Item<'_>,
    default: Hashing,
    version: Option<&str>,
    passwords: &mut HashMap<String, String>,
) -> Option<Record> {
    let name = item.full_name("name");
    let tags = item.tags("tags");
    let limits = item.object_or_empty("limits")?;
    let max_connections = item.limit("limits", &limits, "max-connections");
    let max_channels = item.limit("limits", &limits, "max-channels");
    let plain = item.get("password").is_some().then(|| item.text("password")).flatten();
    let hashing = match item.get("hashing_algorithm") {
        None if plain.is_some() => Some(default),
        None => Some(hashing_of(version, default)),
        Some(_) => {
            let algorithm = item.text("hashing_algorithm")?;
            Hashing::parse(&algorithm).or_else(|| {
                let known = Hashing::ALL.map(Hashing::name).join(", ");
                item.wrong("hashing_algorithm", format!("'{algorithm}' is not known; known are {known}"))
            })
        }
    }?;
    let hash = match &plain {
        Some(plain) if plain.is_empty() => return item.wrong("password", "it is empty"),
        Some(plain) => match password::hash(plain.as_bytes(), hashing) {
            Ok(hash) => Some(hash),
            Err(error) => return item.wrong("password", format!("it cannot be hashed: {error}")),
        },
        None => {
            let hash = item.text("password_hash")?;
            if !hash.is_empty()
                && let Err(error) = password::check(&hash, hashing)
            {
                return item.wrong("password_hash", error.to_string());
            }
            Some(hash).filter(|hash| !hash.is_empty())
        }
    };
    let (name, tags, max_connections, max_channels) = (name?, tags?, max_connections?, max_channels?);
    if let Some(plain) = plain {
        passwords.insert(name.clone(), plain);
    }
    Some(Record::User(User { name, password_hash: hash, hashing, tags, max_connections, max_channels }))
}

/// A virtual host, and its limits where they stand with it.
fn vhost(item: &mut Item<'_>) -> Option<Vec<Record>> {
    let name = item.full_name("name");
    let metadata = item.object_or_empty("metadata")?;
    let limits = item.object_or_empty("limits")?;
    let max_connections = item.limit("limits", &limits, "max-connections");
    let max_queues = item.limit("limits", &limits, "max-queues");
    let description = either_text(item, "description", &metadata)?;
    let tags = match item.get("tags") {
        Some(_) => item.tags("tags"),
        None => metadata.get("tags").map_or(Some(Vec::new()), |tags| {
            let inside = Map::from_iter([("metadata.tags".to_owned(), tags.clone())]);
            item.inside(&inside).tags("metadata.tags")
        }),
    };
    let default_queue_type = either_text(item, "default_queue_type", &metadata)?;
    let default_queue_type = default_queue_type.filter(|kind| !kind.is_empty() && kind != "undefined");
    let protected = either_flag(item, "protected_from_deletion", &metadata)?;
    let (name, description, tags) = (name?, description.unwrap_or_default(), tags?);
    let (max_connections, max_queues) = (max_connections?, max_queues?);
    let vhost = VhostRecord { name: name.clone(), description, tags, default_queue_type, protected };
    let mut records = vec![Record::Vhost(vhost)];
    if max_connections.is_some() || max_queues.is_some() {
        records.push(Record::VhostLimits(VhostLimitsRecord { vhost: name, max_connections, max_queues }));
    }
    Some(records)
}

/// A flag that stands in a virtual host's metadata or with it.
fn either_flag(item: &mut Item<'_>, field: &str, metadata: &Map<String, Json>) -> Option<Option<bool>> {
    match (metadata.get(field), item.get(field)) {
        (None | Some(Json::Null), None) => Some(None),
        (None | Some(Json::Null), Some(_)) => item.flag_or(field, false).map(Some),
        (Some(Json::Bool(flag)), _) => Some(Some(*flag)),
        (Some(other), _) => item.wrong(&format!("metadata.{field}"), expected("true or false", other)),
    }
}

/// A text that stands with a virtual host or in its metadata.
fn either_text(item: &mut Item<'_>, field: &str, metadata: &Map<String, Json>) -> Option<Option<String>> {
    match (item.get(field), metadata.get(field)) {
        (Some(_), _) => item.text(field).map(Some),
        (None, None | Some(Json::Null)) => Some(None),
        (None, Some(Json::String(text))) => Some(Some(text.clone())),
        (None, Some(other)) => item.wrong(&format!("metadata.{field}"), expected("a string", other)),
    }
}

/// Of parameters that nothing here acts on, each component once.
fn without_effect(parameters: &[Json]) -> Vec<String> {
    let components: BTreeSet<&str> = parameters.iter().filter_map(|p| p.get("component")?.as_str()).collect();
    let warning = |component: &str| {
        let what = absent_component(component)?;
        Some(format!("parameters of component '{component}' are kept and have no effect: this broker has no {what}"))
    };
    components.into_iter().filter_map(warning).collect()
}

fn permission(item: &mut Item<'_>) -> Option<Record> {
    let (user, vhost) = (item.name("user"), item.vhost());
    let (configure, write, read) = (item.text("configure"), item.text("write"), item.text("read"));
    let permissions = Permissions { configure: configure?, write: write?, read: read? };
    Some(Record::Permission(PermissionRecord { user: user?, vhost: vhost?, permissions }))
}

fn topic_permission(item: &mut Item<'_>) -> Option<Record> {
    let (user, vhost, exchange) = (item.name("user"), item.vhost(), item.name("exchange"));
    let (write, read) = (item.text("write"), item.text("read"));
    let permission = TopicPermission { exchange: exchange?, write: write?, read: read? };
    Some(Record::TopicPermission(TopicPermissionRecord { user: user?, vhost: vhost?, permission }))
}

fn parameter(item: &mut Item<'_>) -> Option<Record> {
    let (component, name, vhost) = (item.name("component"), item.name("name"), item.vhost());
    let Some(value) = item.get("value") else { return item.wrong("value", "it is missing") };
    let (component, name, vhost) = (component?, name?, vhost?);
    match component.as_str() {
        "operator_policy" => {
            let policy = policies::from_json(&vhost, &name, value, true);
            policy.map_or_else(|why| item.wrong_as_a_whole(why.trim_end()), |policy| Some(Record::Policy(policy)))
        }
        "vhost-limits" => {
            let limits = item.object_or_empty("value")?;
            let max_connections = item.limit("value", &limits, "max-connections");
            let max_queues = item.limit("value", &limits, "max-queues");
            let (max_connections, max_queues) = (max_connections?, max_queues?);
            Some(Record::VhostLimits(VhostLimitsRecord { vhost, max_connections, max_queues }))
        }
        _ => Some(Record::Parameter(ParameterRecord { vhost, component, name, value: value.to_string() })),
    }
}

fn global_parameter(item: &mut Item<'_>) -> Option<Record> {
    let name = item.name("name");
    let Some(value) = item.get("value") else { return item.wrong("value", "it is missing") };
    let name = name?;
    if name == super::LOADED {
        return None;
    }
    Some(Record::GlobalParameter(GlobalParameterRecord { name, value: value.to_string() }))
}

fn policy(item: &mut Item<'_>, fields: &Map<String, Json>) -> Option<Record> {
    let (name, vhost) = (item.name("name"), item.vhost());
    let (name, vhost) = (name?, vhost?);
    // Fields that are not known are warned of, as everywhere.
    let known = ["pattern", "apply-to", "definition", "priority"];
    let known = fields.iter().filter(|(key, value)| known.contains(&key.as_str()) && !value.is_null());
    let known = Json::Object(known.map(|(key, value)| (key.clone(), value.clone())).collect());
    let policy = policies::from_json(&vhost, &name, &known, false);
    policy.map_or_else(|why| item.wrong_as_a_whole(why.trim_end()), |policy| Some(Record::Policy(policy)))
}

fn queue(item: &mut Item<'_>) -> Option<Record> {
    let (name, vhost) = (item.full_name("name"), item.vhost());
    let (durable, auto_delete) = (item.flag_or("durable", true), item.flag_or("auto_delete", false));
    let kind = item.text_or("type", "classic");
    let arguments = item.arguments();
    let (name, kind, mut arguments) = (name?, kind?, arguments?);
    if kind != "classic" && kind != "default" && arguments.get(QUEUE_TYPE).is_none() {
        arguments.insert(QUEUE_TYPE, Value::text(&kind));
    }
    let (vhost, durable, auto_delete) = (vhost?, durable?, auto_delete?);
    Some(Record::Queue(QueueRecord { vhost, name, durable, auto_delete, arguments, id: 0 }))
}

fn exchange(item: &mut Item<'_>) -> Option<Record> {
    let (name, vhost, kind) = (item.name("name"), item.vhost(), item.name("type"));
    let (durable, auto_delete) = (item.flag_or("durable", true), item.flag_or("auto_delete", false));
    let internal = item.flag_or("internal", false);
    let arguments = item.arguments();
    let (name, vhost, kind, arguments) = (name?, vhost?, kind?, arguments?);
    let (durable, auto_delete, internal) = (durable?, auto_delete?, internal?);
    // Every virtual host has the default exchange.
    if name.is_empty() {
        return None;
    }
    Some(Record::Exchange(ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id: 0 }))
}

fn binding(item: &mut Item<'_>) -> Option<Record> {
    let (source, vhost, destination) = (item.name("source"), item.vhost(), item.name("destination"));
    let key = item.name_or("routing_key", "");
    let to_exchange = match item.text_or("destination_type", "queue")?.as_str() {
        "queue" => Some(false),
        "exchange" => Some(true),
        other => item.wrong("destination_type", format!("'{other}' is neither queue nor exchange")),
    };
    let arguments = item.arguments();
    let (vhost, source, destination) = (vhost?, source?, destination?);
    let (to_exchange, key, arguments) = (to_exchange?, key?, arguments?);
    // Every queue is bound to the default exchange.
    if source.is_empty() {
        return None;
    }
    Some(Record::Binding(BindingRecord { vhost, source, destination, to_exchange, key, arguments }))
}
