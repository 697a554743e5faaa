//! Rows as `(values …)`, whose columns both databases name `column1`, `column2`, ….

use sea_orm_migration::sea_orm::{DbBackend, Value};

/// The kind of a column, where a database has to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Id,
    Bool,
}

impl Kind {
    /// A parameter of this kind; SQLite keeps ids as text.
    pub(crate) fn parameter(self, backend: DbBackend, number: usize) -> String {
        match (backend, self) {
            (DbBackend::Postgres, Self::Id) => format!("cast(${number} as uuid)"),
            (DbBackend::Postgres, Self::Bool) => format!("cast(${number} as boolean)"),
            (DbBackend::Postgres, Self::Text) => format!("cast(${number} as text)"),
            _ => format!("${number}"),
        }
    }
}

/// The text of a table expression, and its parameters. There must be a row.
pub(crate) fn values<const N: usize>(
    backend: DbBackend,
    kinds: [Kind; N],
    rows: impl IntoIterator<Item = [Value; N]>,
) -> (String, Vec<Value>) {
    let (mut texts, mut parameters) = (Vec::new(), Vec::new());
    for row in rows {
        let cells = kinds.into_iter().zip(row).map(|(kind, value)| {
            parameters.push(value);
            kind.parameter(backend, parameters.len())
        });
        texts.push(format!("({})", cells.collect::<Vec<_>>().join(", ")));
    }
    (format!("(values {}) as v", texts.join(", ")), parameters)
}
