//! What somebody sees: a list that follows Clerk's signed deliveries, until they are no member any more.

use serde_json::json;

use super::bed::Bed;
use crate::support::{
    organizations::{ended, member, organization},
    people::{user, with},
};

#[tokio::test]
async fn a_list_on_the_screen_follows_signed_deliveries_until_its_reader_is_removed() {
    let Some(bed) = Bed::start(60).await else { return };
    let service = bed.serve().await;
    let here = [
        user("ada", 1),
        user("eve", 1),
        organization("one", "ada", 1),
        member("one", "ada", 2, "org:admin"),
        member("one", "eve", 2, "org:member"),
    ];
    bed.sync(&service, &here).await;
    let page = bed.page("live", "ada", "user:me,org:org_one", "org:org_one").await;
    page.shows("who is here", "#rows li", &["ada Tester (org:admin)", "eve Tester (org:member)"]).await;
    page.shows("it is live", "#status, #state", &["live", "there"]).await;
    page.picture("loaded").await;

    // A name changes.
    bed.deliver(&service, &with(user("eve", 10), "first_name", json!("Augusta"))).await;
    page.shows("a new name", "#rows li", &["ada Tester (org:admin)", "Augusta Tester (org:member)"]).await;
    // Somebody comes.
    bed.deliver(&service, &user("bob", 11)).await;
    bed.deliver(&service, &member("one", "bob", 12, "org:member")).await;
    let three = ["ada Tester (org:admin)", "Augusta Tester (org:member)", "bob Tester (org:member)"];
    page.shows("a new member", "#rows li", &three).await;
    // Somebody goes.
    bed.deliver(&service, &ended(member("one", "eve", 13, "org:member"))).await;
    page.shows("one member less", "#rows li", &["ada Tester (org:admin)", "bob Tester (org:member)"]).await;
    // It is about oneself.
    bed.deliver(&service, &with(user("ada", 14), "first_name", json!("Ada"))).await;
    page.until("a notice", "document.querySelector('#notices').innerText.includes('The account was updated')").await;
    page.shows("one's own name", "#rows li", &["Ada Tester (org:admin)", "bob Tester (org:member)"]).await;
    page.picture("changed").await;

    // The reader is removed.
    bed.sync(&service, &[ended(member("one", "ada", 15, "org:admin"))]).await;
    page.shows("the list goes", "#ended", &["membership_ended"]).await;
    assert!(page.texts("#rows li").await.is_empty());
    page.picture("revoked").await;
    let told = page.get("page.seen['org:org_one']").await;
    let last = page.get("page.frames.filter(({ type }) => type === 'revoked')").await;
    assert_eq!(last[0]["reason"], "membership_ended", "{last}");
    // What happens there now is not for them; what happens to themselves is.
    bed.sync(&service, &[with(user("bob", 20), "first_name", json!("Robert"))]).await;
    bed.sync(&service, &[with(user("ada", 21), "first_name", json!("Countess"))]).await;
    page.until("oneself", "page.frames.some(({ data }) => data && data.first_name === 'Countess')").await;
    assert_eq!(page.get("page.seen['org:org_one']").await, told);
    assert_eq!((page.text("#ended").await.as_str(), page.texts("#rows li").await.len()), ("membership_ended", 0));
    assert_eq!(page.get("[page.sockets, page.statuses]").await, json!([1, ["connecting", "live"]]));
    bed.is_quiet(&page).await;
    bed.browser.close().await;
    service.stop().await;
}
