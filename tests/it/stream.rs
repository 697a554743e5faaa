//! The public stream in Redis: what it holds, once and in order, whatever becomes of Redis or of the numbering; and
//! consumers that read it as `docs/stream.md` says.

mod anew;
mod bed;
mod consumer;
mod erased;
mod group;
mod kept;
