//! The long lists: queues, exchanges, bindings, connections, channels, consumers. Only the columns that are shown are asked
//! for, and rows are written as they come.

use serde_json::Value as Json;

use super::CTL_AND_DIAGNOSTICS;
use crate::ctl::command::{Command, Opt};
use crate::ctl::exit::Failure;
use crate::ctl::listing::Column;
use crate::ctl::session::{Session, path};
use crate::ctl::term::Kind;

const WHICH: &[Opt] = &[
    Opt::switch("online", "only queues on nodes that run"),
    Opt::switch("offline", "only queues on nodes that do not run"),
    Opt::switch("local", "only queues of the target node"),
];

pub const COMMANDS: &[Command] = &[
    Command::new("list_queues", "Lists queues and their properties", list_queues)
        .lists(QUEUES)
        .options(WHICH)
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("list_unresponsive_queues", "Lists queues that do not answer in time", list_unresponsive)
        .lists(QUEUES)
        .options(&[
            Opt::switch("local", "only queues of the target node"),
            Opt::number("queue-timeout", "<milliseconds>", "how long a queue gets"),
        ])
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("list_exchanges", "Lists exchanges", list_exchanges).lists(EXCHANGES).of(CTL_AND_DIAGNOSTICS),
    Command::new("list_bindings", "Lists bindings", list_bindings).lists(BINDINGS).of(CTL_AND_DIAGNOSTICS),
    Command::new("list_connections", "Lists connections", list_connections).lists(CONNECTIONS).of(CTL_AND_DIAGNOSTICS),
    Command::new("list_channels", "Lists channels", list_channels).lists(CHANNELS).of(CTL_AND_DIAGNOSTICS),
    Command::new("list_consumers", "Lists consumers", list_consumers).lists(CONSUMERS).of(CTL_AND_DIAGNOSTICS),
];

const QUEUES: &[Column] = &[
    Column::plain("name"),
    Column::plain("durable"),
    Column::plain("auto_delete"),
    Column::plain("arguments").as_kind(Kind::Table),
    Column::plain("policy"),
    Column::plain("operator_policy"),
    Column::plain("effective_policy_definition").as_kind(Kind::Json),
    Column::plain("pid"),
    Column::of("owner_pid", "owner_pid_details.pid"),
    Column::plain("exclusive"),
    Column::of("exclusive_consumer_pid", "exclusive_consumer_pid"),
    Column::plain("exclusive_consumer_tag"),
    Column::of("single_active_consumer_tag", "single_active_consumer_tag"),
    Column::of("single_active_consumer_pid", "single_active_consumer_pid"),
    Column::plain("messages"),
    Column::plain("messages_ready"),
    Column::plain("messages_unacknowledged"),
    Column::plain("messages_ram"),
    Column::plain("messages_ready_ram"),
    Column::plain("messages_unacknowledged_ram"),
    Column::plain("messages_persistent"),
    Column::plain("messages_paged_out"),
    Column::plain("messages_delayed"),
    Column::plain("message_bytes"),
    Column::plain("message_bytes_ready"),
    Column::plain("message_bytes_unacknowledged"),
    Column::plain("message_bytes_ram"),
    Column::plain("message_bytes_persistent"),
    Column::plain("head_message_timestamp"),
    Column::plain("disk_reads"),
    Column::plain("disk_writes"),
    Column::plain("consumers"),
    Column::plain("consumer_utilisation"),
    Column::plain("consumer_capacity"),
    Column::plain("memory"),
    Column::plain("slave_pids").as_kind(Kind::Atoms),
    Column::plain("synchronised_slave_pids").as_kind(Kind::Atoms),
    Column::plain("state"),
    Column::plain("type"),
    Column::plain("leader"),
    Column::plain("members").as_kind(Kind::Atoms),
    Column::plain("online").as_kind(Kind::Atoms),
];

const EXCHANGES: &[Column] = &[
    Column::plain("name"),
    Column::plain("type"),
    Column::plain("durable"),
    Column::plain("auto_delete"),
    Column::plain("internal"),
    Column::plain("arguments").as_kind(Kind::Table),
    Column::plain("policy"),
];

const BINDINGS: &[Column] = &[
    Column::of("source_name", "source"),
    Column::plain("source_kind"),
    Column::of("destination_name", "destination"),
    Column::of("destination_kind", "destination_type"),
    Column::plain("routing_key"),
    Column::plain("arguments").as_kind(Kind::Table),
];

const CONNECTIONS: &[Column] = &[
    Column::plain("pid"),
    Column::plain("name"),
    Column::plain("port"),
    Column::plain("host"),
    Column::plain("peer_port"),
    Column::plain("peer_host"),
    Column::plain("ssl"),
    Column::plain("ssl_protocol"),
    Column::plain("ssl_key_exchange"),
    Column::plain("ssl_cipher"),
    Column::plain("ssl_hash"),
    Column::plain("peer_cert_subject"),
    Column::plain("peer_cert_issuer"),
    Column::plain("peer_cert_validity"),
    Column::plain("state"),
    Column::plain("channels"),
    Column::plain("protocol").as_kind(Kind::Protocol),
    Column::plain("auth_mechanism"),
    Column::plain("user"),
    Column::plain("vhost"),
    Column::plain("timeout"),
    Column::plain("frame_max"),
    Column::plain("channel_max"),
    Column::plain("client_properties").as_kind(Kind::Table),
    Column::plain("connected_at"),
    Column::plain("recv_oct"),
    Column::plain("recv_cnt"),
    Column::plain("send_oct"),
    Column::plain("send_cnt"),
    Column::plain("send_pend"),
    Column::plain("user_provided_name"),
    Column::plain("container_id"),
];

const CHANNELS: &[Column] = &[
    Column::plain("pid"),
    Column::of("connection", "pid").as_kind(Kind::Connection),
    Column::plain("name"),
    Column::plain("number"),
    Column::plain("user"),
    Column::plain("vhost"),
    Column::plain("transactional"),
    Column::plain("confirm"),
    Column::plain("consumer_count"),
    Column::plain("messages_unacknowledged"),
    Column::plain("messages_uncommitted"),
    Column::plain("acks_uncommitted"),
    Column::plain("messages_unconfirmed"),
    Column::plain("prefetch_count"),
    Column::plain("global_prefetch_count"),
    Column::plain("state"),
];

const CONSUMERS: &[Column] = &[
    Column::of("queue_name", "queue.name"),
    Column::of("channel_pid", "channel_details.pid"),
    Column::plain("consumer_tag"),
    Column::plain("ack_required"),
    Column::plain("prefetch_count"),
    Column::plain("active"),
    Column::plain("activity_status"),
    Column::plain("arguments").as_kind(Kind::Table),
];

fn list_queues(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    let timeout = session.given.option("timeout").map_or("60.0".to_owned(), |given| match given {
        "infinity" => given.to_owned(),
        seconds => format!("{seconds}.0"),
    });
    session.banner(format!("Timeout: {timeout} seconds ..."))?;
    session.banner(format!("Listing queues for vhost {vhost} ..."))?;
    session.need_vhost(&vhost)?;
    // There is one node, and it runs.
    let none = session.given.has("offline");
    session.list(&path(&["queues", &vhost]), &["name", "messages"], |queue| (!none).then_some(queue))
}

/// Queues run where they are asked: none is ever without an answer for longer than the node itself.
fn list_unresponsive(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing unresponsive queues for vhost {vhost} ..."))?;
    session.need_vhost(&vhost)
}

fn list_exchanges(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing exchanges for vhost {vhost} ..."))?;
    session.need_vhost(&vhost)?;
    session.list(&path(&["exchanges", &vhost]), &["name", "type"], Some)
}

fn list_bindings(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing bindings for vhost {vhost}..."))?;
    session.need_vhost(&vhost)?;
    let all = ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];
    let route = path(&["bindings", &vhost]);
    let columns = crate::ctl::listing::chosen(BINDINGS, &session.given.arguments, &all);
    let fields = crate::ctl::listing::fields(&columns);
    session.write_list(&format!("{route}?columns={fields}"), &columns, |mut binding| {
        // Only exchanges are sources, and the HTTP API does not say so.
        binding.insert("source_kind".to_owned(), Json::from("exchange"));
        Some(binding)
    })
}

fn list_connections(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing connections ...")?;
    session.list("/api/connections", &["user", "peer_host", "peer_port", "state"], Some)
}

fn list_channels(session: &mut Session) -> Result<(), Failure> {
    session.banner("Listing channels ...")?;
    session.list("/api/channels", &["pid", "user", "consumer_count", "messages_unacknowledged"], Some)
}

fn list_consumers(session: &mut Session) -> Result<(), Failure> {
    let vhost = session.vhost();
    session.banner(format!("Listing consumers in vhost {vhost} ..."))?;
    session.need_vhost(&vhost)?;
    let default =
        ["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"];
    session.list(&path(&["consumers", &vhost]), &default, Some)
}
