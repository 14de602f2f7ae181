//! Which route a request takes, and what it finds there.

mod route;
mod table;

pub use route::Route;
pub use table::RoutingTable;
