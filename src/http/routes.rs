//! The table of all routes, and what they do, room by room.

mod general;

use super::Route;

/// The tables of all rooms.
const TABLES: &[&[Route]] = &[general::ROUTES];

/// All routes.
pub fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().flat_map(|table| table.iter())
}
