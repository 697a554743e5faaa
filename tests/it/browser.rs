//! The client that pages import, in a real browser: a page of another origin on a real server, and the client alone over
//! a socket that says whatever a server may say.

mod bed;
mod devtools;
mod files;
mod live;
mod page;
mod renewal;
mod restart;
mod site;
mod units;
