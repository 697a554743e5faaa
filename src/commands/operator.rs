//! What commands that act on people share.

use anyhow::bail;

use crate::{
    app::App,
    domain::operators::Action,
    sync::operate::{OperateError, Operator},
};

/// The most rows that a list shows.
pub(super) const MOST: i64 = 1_000;

/// Whoever sits at the command line.
pub(super) fn operator(app: &App) -> Operator<'_> {
    Operator { db: &app.db, policy: &app.policy, clock: &app.clock, name: "cli" }
}

/// Does it; a running server hears of it.
pub(super) async fn operate(app: &App, action: Action) -> anyhow::Result<()> {
    told(operator(app).act(action).await)?;
    app.signals.tell(&app.db).await;
    Ok(())
}

/// A condition that does not hold, in the words of the HTTP interface.
pub(super) fn told<T>(result: Result<T, OperateError>) -> anyhow::Result<T> {
    match result {
        Err(OperateError::Condition(why)) => bail!("conflict_condition: {why}"),
        result => Ok(result?),
    }
}
