//! Lossless JSON: what users of Clerk write themselves is kept exactly, and can always be read again.
//!
//! `serde_json::Value` cannot do that: a number becomes an `f64` (digits are lost, `1e400` is an error), a lone surrogate
//! is an error, and an object whose first member is named `$serde_json::private::RawValue` is taken for something else.
//! Everything that may hold metadata therefore passes through this module and no other parser.
//!
//! - [`lexer`]: the grammar, iterative, so that no nesting can exhaust the stack
//! - [`text`]: strings with and without escapes
//! - [`value`]: the tree; numbers are texts
//! - [`parse`]: from text to tree, with a limit of depth
//! - `build`: the macro `json!` for our own values
//!
//! Invariants: a grammatical text never fails to parse; what is written by [`Value`]'s `Display` parses to an equal
//! value; U+0000 and lone surrogates become U+FFFD, since no Postgres text can hold the one and no Rust text the other.

mod build;
pub mod lexer;
pub mod parse;
pub mod text;
pub mod value;

pub use build::ToJson;
pub(crate) use build::json;
pub use lexer::{Lexer, SyntaxError, Token};
pub use value::{Number, Object, Value, object_text, serialize, serialize_object};
