//! The services that `tests/run` starts, found through the environment.
