//! Tokens that end within seconds: the next one is brought on the connection that is there.

use serde_json::json;

use super::bed::Bed;
use crate::support::people::{user, with};

#[tokio::test]
async fn a_token_that_ends_is_followed_by_another_on_the_same_connection() {
    let Some(bed) = Bed::start(10).await else { return };
    let service = bed.serve().await;
    bed.sync(&service, &[user("ada", 1)]).await;
    let page = bed.page("renewal", "ada", "user:me", "").await;
    page.until("it is live", "page.client.status === 'live'").await;
    // At the third one the first has ended, and at the next change the second is about to.
    page.until("tokens are asked for", "page.tokens >= 3").await;
    bed.deliver(&service, &with(user("ada", 10), "first_name", json!("Ada"))).await;
    page.until("changes go on", "page.frames.some(({ data }) => data.first_name === 'Ada')").await;
    page.picture("renewed").await;
    assert_eq!(page.get("[page.sockets, page.statuses]").await, json!([1, ["connecting", "live"]]));
    bed.is_quiet(&page).await;
    bed.browser.close().await;
    service.stop().await;
}
