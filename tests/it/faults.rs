//! Faults of storage and crashes between two effects, on the real binary. After each: what was acknowledged is there
//! (P1), has had its effect once (P2), and every acknowledged event ends within ten seconds once faults cease (P13).

mod bed;
mod closed;
mod connections;
mod corrupt;
mod failpoints;
mod full;
mod postgres;
mod start;
mod unknown;
mod walk;
