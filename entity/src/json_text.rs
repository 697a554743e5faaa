//! A JSON column as its text: nothing is parsed, so no value in it can make a row unreadable.

use sea_orm::{
    ColIdx, DbErr, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
    sqlx::{Row as _, types::Json},
};
use serde_json::value::RawValue;

/// The text of a `json` or `jsonb` column on Postgres, of a text column on SQLite.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonText(pub String);

impl TryGetable for JsonText {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let Some(postgres) = row.try_as_pg_row() else { return String::try_get_by(row, index).map(Self) };
        // A column that was cast to text is one.
        if let Ok(text) = postgres.try_get::<Option<String>, _>(index.as_sqlx_postgres_index()) {
            return text.map(Self).ok_or_else(|| TryGetError::Null(format!("{index:?}")));
        }
        // `RawValue` looks at the grammar alone.
        let text: Option<Json<Box<RawValue>>> = postgres
            .try_get(index.as_sqlx_postgres_index())
            .map_err(|error| TryGetError::DbErr(DbErr::Type(format!("column {index:?}: {error}"))))?;
        let text = text.ok_or_else(|| TryGetError::Null(format!("{index:?}")))?;
        Ok(Self(Box::<str>::from(text.0).into()))
    }
}

impl From<JsonText> for Value {
    fn from(text: JsonText) -> Self {
        Self::String(Some(text.0))
    }
}

impl ValueType for JsonText {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        if let Value::String(Some(text)) = value { Ok(Self(text)) } else { Err(ValueTypeErr) }
    }

    fn type_name() -> String {
        "JsonText".into()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::Json
    }
}

impl Nullable for JsonText {
    fn null() -> Value {
        Value::String(None)
    }
}
