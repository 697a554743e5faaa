//! Conformance of the search seam.
