//! Transactions that the database itself ends: what the driver believes of the connection is wrong from then on. No
//! receipt may ever become part of such a transaction.

use super::bed::Bed;

const SQLITE_ENDS_IT: &str = "create trigger ends_it before insert on audit_log when new.subject = 'user_fault000'
    begin select raise(rollback, 'ended'); end";

const SQLITE_REFUSES: &str = "create trigger refuses before insert on audit_log when new.subject = 'user_fault000'
    begin select raise(abort, 'refused'); end";

/// A trigger ends the applier's transaction; then an operation is rolled back; then come receipts.
async fn receipts_outlive(trigger: &'static str, drop_trigger: &'static str) {
    let mut bed = Bed::start().await;
    bed.execute(trigger).await;
    bed.accepted(1).await;
    // Until the applier has met the trigger.
    let met = "select count(*) from inbox where attempts > 0";
    while bed.count(met).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    bed.refused_operation().await;
    bed.accepted(8).await;
    let lost = bed.lost().await;
    assert!(lost.is_empty(), "acknowledged, and seen by no other connection: {lost:?}");
    bed.execute(drop_trigger).await;
    bed.execute("update inbox set available_at = received_at where state = 'pending'").await;
    bed.restart().await;
    bed.whole("after a restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_receipts_outlive_a_transaction_that_sqlite_ended() {
    receipts_outlive(SQLITE_ENDS_IT, "drop trigger ends_it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_receipts_outlive_a_statement_that_sqlite_refused() {
    receipts_outlive(SQLITE_REFUSES, "drop trigger refuses").await;
}
