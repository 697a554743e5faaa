//! Objects of the API are bounded, normalised and explained as deliveries are.

use clerk_sync::{clerk::simulated::objects, clock::Clock};
use serde_json::json;

use super::{backfilled, nobody, pairs, texts};
use crate::support::cases::noise;

#[tokio::test]
async fn objects_are_decoded_as_deliveries_are() {
    for (clerk, world) in pairs(nobody, &[]).await {
        let put = |name: &str, mail: &str, seconds: i64, change: &dyn Fn(&mut serde_json::Value)| {
            let at = Clock::system().now() - chrono::Duration::seconds(100 - seconds);
            let mut user = objects::user(name, "Person", mail, at);
            change(&mut user);
            clerk.clerk.put_user(user)
        };
        let saml = |connection: &str, subject: &str| {
            json!([{"provider": "saml_custom", "provider_user_id": subject, "enterprise_connection_id": connection,
                "verification": {"status": "verified"}}])
        };
        put("A", "a@b\u{fc}cher.example", 1, &|user| user["enterprise_accounts"] = saml("entconn_a", "1001"));
        put("B", "b@example.com", 2, &|user| user["enterprise_accounts"] = saml("entconn_b", "1001"));
        put("C", "c@example.com", 3, &|user| user["enterprise_accounts"] = saml("entconn_b", &noise(3000, 1)));
        put("D", "d@example.com", 4, &|user| user["banned"] = json!("true"));
        put("E", "A@xn--bcher-kva.example", 5, &|_| {});
        backfilled(&world).await;
        let shown = "select u.first_name || ' ' || u.status || ' ' || e.normalised || ' ' || coalesce(f.connection, '-') as name
            from clerk_sync.users u join clerk_sync.email_addresses e on e.user_id = u.id
            left join clerk_sync.federated_identities f on f.user_id = u.id and f.current order by 1";
        assert_eq!(
            texts(&world, shown).await,
            [
                "A active a@xn--bcher-kva.example entconn_a",
                "B active b@example.com entconn_b",
                "C active c@example.com -",
                "D banned d@example.com -",
            ],
            "{}",
            world.name
        );
        let parked = "select state || ' ' || substr(reason, 1, 14) as name from clerk_sync.inbox";
        assert_eq!(texts(&world, parked).await, ["conflict conflict.email"], "{}", world.name);
        let alerts = "select kind as name from clerk_sync.alerts where kind = 'field.invalid'";
        assert_eq!(texts(&world, alerts).await, ["field.invalid"; 2], "{}", world.name);
    }
}
