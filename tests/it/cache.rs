//! Conformance of the cache seam.
