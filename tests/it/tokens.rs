//! Session tokens of Clerk's: which are right, and what they open.

mod barred;
mod bed;
mod doors;
mod http;
mod keys;
mod leaks;
mod limits;
mod live;
mod losses;
mod orgs;
mod own;
mod profiles;
mod published;
mod real;
mod refusals;
mod replicas;
mod settings;
mod standing;
mod strangers;
mod streams;
mod today;
mod verify;
mod wrong;
