//! The table of all routes, and what they do, room by room.

mod apart;
mod attempts;
mod bindings;
mod certificates;
mod channels;
mod cluster;
mod connections;
mod consumers;
mod definitions;
mod exchanges;
mod explain;
mod general;
mod health;
mod inventory;
mod limits;
mod logs;
mod messages;
mod nodes;
mod operator;
mod overview;
mod parameters;
mod passwords;
mod permissions;
mod policies;
mod queues;
mod users;
mod vhosts;

use super::Route;

/// The tables of all rooms.
const TABLES: &[&[Route]] = &[
    general::ROUTES,
    overview::ROUTES,
    nodes::ROUTES,
    connections::ROUTES,
    channels::ROUTES,
    consumers::ROUTES,
    vhosts::ROUTES,
    users::ROUTES,
    attempts::ROUTES,
    permissions::ROUTES,
    limits::ROUTES,
    exchanges::ROUTES,
    queues::ROUTES,
    bindings::ROUTES,
    messages::ROUTES,
    inventory::ROUTES,
    policies::ROUTES,
    parameters::ROUTES,
    definitions::ROUTES,
    cluster::ROUTES,
    health::ROUTES,
    passwords::ROUTES,
    operator::ROUTES,
    logs::ROUTES,
    explain::ROUTES,
];

/// All routes.
pub fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().flat_map(|table| table.iter())
}
