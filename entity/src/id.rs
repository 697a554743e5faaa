//! An id column: `uuid` on Postgres, a readable text on SQLite.

use sea_orm::{
    ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use uuid::Uuid;

/// A UUID as either database keeps it.
///
/// As a parameter it is text: SQLite compares it as it stands; on Postgres write `cast($1 as uuid)`,
/// without which Postgres refuses the statement at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Id(pub Uuid);

impl From<Id> for Value {
    fn from(id: Id) -> Self {
        Self::String(Some(id.0.to_string()))
    }
}

impl TryGetable for Id {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        match Uuid::try_get_by(row, index) {
            Ok(id) => Ok(Self(id)),
            Err(TryGetError::Null(column)) => Err(TryGetError::Null(column)),
            Err(TryGetError::DbErr(_)) => {
                let text = String::try_get_by(row, index)?;
                let id = Uuid::parse_str(&text).map_err(|error| DbErr::Type(error.to_string()))?;
                Ok(Self(id))
            }
        }
    }
}

impl ValueType for Id {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::String(Some(text)) => Uuid::parse_str(&text).map(Self).map_err(|_| ValueTypeErr),
            Value::Uuid(Some(id)) => Ok(Self(id)),
            _ => Err(ValueTypeErr),
        }
    }

    fn type_name() -> String {
        "Id".into()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::Uuid
    }
}

impl Nullable for Id {
    fn null() -> Value {
        Value::String(None)
    }
}

impl TryFromU64 for Id {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Id"))
    }
}
