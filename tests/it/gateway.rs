//! The websocket `GET /v1/ws`, with real clients on a real server.

mod door;
mod live;
mod proof;
mod resume;
mod server;
mod strain;
