//! Many rows as one source of a statement: typed arrays through `unnest` on Postgres, one JSON text
//! through `json_each` on SQLite. The text of the statement does not depend on how many rows there are.

use sea_orm::{DbBackend, Value, sea_query::ArrayType};
use serde_json::json;
use uuid::Uuid;

use crate::clock::Time;

/// The kind of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Type {
    Text,
    Int,
    Bool,
    /// Bytes that are UTF-8 (bodies are JSON).
    Bytes,
    /// JSON that SQL may look into.
    Json,
    /// JSON that is only carried.
    TextJson,
    Id,
    Time,
}

/// A column of a row source: its name and kind.
#[derive(Debug, Clone, Copy)]
pub struct Col(pub &'static str, pub Type);

/// One value. `None` is SQL's null.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Cell {
    Null,
    Text(String),
    Int(i64),
    Bool(bool),
    Bytes(Vec<u8>),
    /// JSON as text.
    Json(String),
    Id(Uuid),
    Time(Time),
}

macro_rules! cell_from {
    ($($ty:ty => $variant:ident),* $(,)?) => {$(
        impl From<$ty> for Cell {
            fn from(value: $ty) -> Self { Self::$variant(value) }
        }
        impl From<Option<$ty>> for Cell {
            fn from(value: Option<$ty>) -> Self { value.map_or(Self::Null, Self::$variant) }
        }
    )*};
}
cell_from!(String => Text, i64 => Int, bool => Bool, Vec<u8> => Bytes, Uuid => Id, Time => Time);

impl Cell {
    /// The JSON of a value, written straight to text.
    pub fn json(value: &impl serde::Serialize) -> Self {
        serde_json::to_string(value).map_or(Self::Null, Self::Json)
    }
}

impl From<&crate::json::Value> for Cell {
    fn from(value: &crate::json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

impl From<&crate::json::Object> for Cell {
    fn from(members: &crate::json::Object) -> Self {
        Self::Json(crate::json::object_text(members))
    }
}

impl From<serde_json::Value> for Cell {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Option<&str>> for Cell {
    fn from(value: Option<&str>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// A time as SQLite keeps it: the text that the driver itself writes and reads.
pub(super) fn sqlite_time(time: Time) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, false)
}

/// Rows to hand to a statement.
#[derive(Debug, Clone)]
pub struct Rows {
    cols: &'static [Col],
    rows: Vec<Vec<Cell>>,
}

impl Rows {
    /// No rows yet, of these columns.
    pub fn new(cols: &'static [Col]) -> Self {
        Self { cols, rows: Vec::new() }
    }

    /// Rows of one text column.
    pub fn keys(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut rows = Self::new(&[Col("k", Type::Text)]);
        keys.into_iter().for_each(|key| rows.push(vec![Cell::Text(key.into())]));
        rows
    }

    /// Adds a row; one cell a column, in their order.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.cols.len());
        self.rows.push(row);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows as a table expression named `r`, its parameters numbered after those already in `values`.
    pub(super) fn render(self, backend: DbBackend, sql: &mut String, values: &mut Vec<Value>) {
        match backend {
            DbBackend::Postgres => self.render_unnest(sql, values),
            _ => self.render_json_each(sql, values),
        }
    }

    /// `unnest` is qualified: one of an application's own for arrays of text would fit better than the built-in one.
    ///
    /// Arrays travel as Postgres' own array literals, one text a column: the driver's typed arrays cannot hold nulls.
    /// Bytes and JSON, which a literal would escape at length, travel as typed arrays, where empty stands for null.
    fn render_unnest(mut self, sql: &mut String, values: &mut Vec<Value>) {
        let names = self.cols.iter().map(|Col(name, ty)| match ty {
            Type::Json => format!("nullif(\"{name}\", '')::jsonb as \"{name}\""),
            Type::TextJson => format!("nullif(\"{name}\", '')::json as \"{name}\""),
            Type::Bytes => format!("nullif(\"{name}\", ''::bytea) as \"{name}\""),
            _ => format!("\"{name}\""),
        });
        sql.push_str(&format!("(select {} from rows from (", names.collect::<Vec<_>>().join(", ")));
        for (index, Col(_, ty)) in self.cols.iter().enumerate() {
            let column = self.rows.iter_mut().filter_map(|row| row.get_mut(index));
            let cast = match ty {
                Type::Text => "::text::text[]",
                Type::Json | Type::TextJson => "::text[]",
                Type::Int => "::text::bigint[]",
                Type::Bool => "::text::boolean[]",
                Type::Bytes => "::bytea[]",
                Type::Id => "::text::uuid[]",
                Type::Time => "::text::timestamptz[]",
            };
            values.push(match ty {
                Type::Bytes => bytes(column),
                Type::Json | Type::TextJson => texts(column),
                _ => array_literal(column).into(),
            });
            let comma = if index > 0 { ", " } else { "" };
            // In a select of its own: the planner would read a bare array to guess how many rows there are, all of it.
            sql.push_str(&format!("{comma}pg_catalog.unnest((select ${}{cast}))", values.len()));
        }
        let names = self.cols.iter().map(|Col(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        sql.push_str(&format!(") as u({names})) r"));
    }

    fn render_json_each(self, sql: &mut String, values: &mut Vec<Value>) {
        let names = self.cols.iter().enumerate().map(|(index, Col(name, ty))| match ty {
            Type::Bytes => format!("cast(value->>{index} as blob) as \"{name}\""),
            _ => format!("value->>{index} as \"{name}\""),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let rows: Vec<serde_json::Value> =
            self.rows.into_iter().map(|row| row.into_iter().map(json_value).collect()).collect();
        values.push(Value::String(Some(serde_json::Value::Array(rows).to_string())));
        sql.push_str(&format!("(select {names} from json_each(${})) r", values.len()));
    }
}

fn json_value(cell: Cell) -> serde_json::Value {
    match cell {
        Cell::Null => serde_json::Value::Null,
        Cell::Text(text) => text.into(),
        Cell::Int(int) => int.into(),
        Cell::Bool(bool) => bool.into(),
        // Bodies are verified to be UTF-8 before they get here; nothing else is bytes.
        Cell::Bytes(bytes) => String::from_utf8_lossy(&bytes).into(),
        // As a text within the text: `->>` hands it back unchanged.
        Cell::Json(json) => json.into(),
        Cell::Id(id) => json!(id),
        Cell::Time(time) => sqlite_time(time).into(),
    }
}

/// `{"one","two",NULL}`, with quotes and backslashes escaped.
fn array_literal<'a>(column: impl Iterator<Item = &'a mut Cell>) -> String {
    let mut literal = String::from("{");
    for cell in column {
        if literal.len() > 1 {
            literal.push(',');
        }
        match cell {
            Cell::Null => literal.push_str("NULL"),
            Cell::Int(int) => literal.push_str(&int.to_string()),
            Cell::Bool(bool) => literal.push_str(if *bool { "t" } else { "f" }),
            Cell::Id(id) => literal.push_str(&id.to_string()),
            Cell::Text(text) | Cell::Json(text) => quote(text, &mut literal),
            Cell::Time(time) => quote(&sqlite_time(*time), &mut literal),
            Cell::Bytes(bytes) => quote(&String::from_utf8_lossy(bytes), &mut literal),
        }
    }
    literal.push('}');
    literal
}

fn quote(text: &str, literal: &mut String) {
    literal.push('"');
    let mut from = 0;
    for (at, _) in text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'"' | b'\\')) {
        literal.push_str(&text[from..at]);
        literal.push('\\');
        from = at;
    }
    literal.push_str(&text[from..]);
    literal.push('"');
}

fn bytes<'a>(column: impl Iterator<Item = &'a mut Cell>) -> Value {
    let bytes = column.map(|cell| match cell {
        Cell::Bytes(bytes) => Value::Bytes(Some(std::mem::take(bytes))),
        _ => Value::Bytes(Some(Vec::new())),
    });
    Value::Array(ArrayType::Bytes, Some(Box::new(bytes.collect())))
}

fn texts<'a>(column: impl Iterator<Item = &'a mut Cell>) -> Value {
    let texts = column.map(|cell| match cell {
        Cell::Text(text) | Cell::Json(text) => Value::String(Some(std::mem::take(text))),
        _ => Value::String(Some(String::new())),
    });
    Value::Array(ArrayType::String, Some(Box::new(texts.collect())))
}

impl Cell {
    /// The value as one parameter. A null has no kind of its own here and is bound as text.
    pub(super) fn into_value(self, backend: DbBackend) -> Value {
        let postgres = backend == DbBackend::Postgres;
        match self {
            Self::Null => Value::String(None),
            Self::Text(text) => text.into(),
            Self::Int(int) => int.into(),
            Self::Bool(bool) => bool.into(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Json(json) if postgres => serde_json::from_str::<serde_json::Value>(&json).unwrap_or_default().into(),
            Self::Json(json) => json.into(),
            Self::Id(id) if postgres => id.into(),
            Self::Id(id) => id.to_string().into(),
            Self::Time(time) if postgres => time.into(),
            Self::Time(time) => sqlite_time(time).into(),
        }
    }
}
