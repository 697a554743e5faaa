//! The cache seam.
