//! The search seam.
