//! `doctor`, tried as a new user would: a set-up that works is called so, and one with one broken thing hears of that
//! thing and no other, with what to do about it. It changes nothing.

mod admission;
mod bed;
mod broken;
mod tokens;
mod told;
mod well;
