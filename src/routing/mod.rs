//! Routing: finds the route of a request, with the upstream and the settings that belong to it.

mod route;
mod table;

pub use route::Route;
pub use table::RoutingTable;
