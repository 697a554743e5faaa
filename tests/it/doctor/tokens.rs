//! The keys that session tokens are verified with, where they are published.

use serde_json::json;

use super::bed::{clerk, doctor, leading_to};
use crate::support::{
    issuer::{ISSUER, Issuer, KID},
    keys::{Double, Way},
    world::sqlite,
};

const CHECK: &str = "session-tokens";

#[tokio::test]
async fn published_keys_are_asked_for() {
    let world = sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(KID)])).await;
    let environment = [("CLERK_JWKS_URL", double.url.as_str()), ("CLERK_ISSUER", ISSUER)];
    let report = doctor(&url, &environment).await;
    assert_eq!((report.code, report.about(CHECK).0), (0, "ok"), "{:#?}", report.lines);
    assert_eq!(report.about(CHECK).1, "verified with 1 published key");
    // A published key is named after its instance.
    let instance = |id| [environment.as_slice(), &[("CLERK_SYNC__CLERK__INSTANCE_ID", id)]].concat();
    let report = doctor(&url, &instance(KID)).await;
    assert_eq!((report.code, report.about("issuer").0), (0, "ok"), "{:#?}", report.lines);
    assert_eq!(report.about("token-sample").0, "ok");
    doctor(&url, &instance("ins_other")).await.names("issuer", "CLERK_JWKS_URL");
    for way in
        [Way::Keys(Vec::new()), Way::Status(404, String::new()), Way::Body("<html>".into()), Way::Close, Way::Hang]
    {
        double.answer(way);
        doctor(&url, &environment).await.names(CHECK, "CLERK_JWKS_URL");
    }
    // What passes by itself is no fault of the set-up.
    double.answer(Way::Status(503, String::new()));
    let report = doctor(&url, &environment).await;
    assert_eq!((report.code, report.about(CHECK).0), (0, "warn"), "{:#?}", report.lines);
    // With a key of its own it asks nobody.
    let (pem, asked) = (Issuer::ours().pem(), double.asked());
    let both = [environment.as_slice(), &[("CLERK_JWT_KEY", pem.as_str())]].concat();
    let report = doctor(&url, &both).await;
    assert_eq!((report.about(CHECK).0, double.asked()), ("note", asked));
    assert!(report.about(CHECK).1.contains("clerk.jwt_key"));
}

#[tokio::test]
async fn where_clerks_api_is_asked_for_them_its_key_is_at_fault_and_not_they() {
    let world = sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let clerk = clerk().await;
    clerk.clerk.set_jwks(json!({"keys": [Issuer::ours().jwk(clerk.clerk.instance_id())]}));
    let jwks = format!("{}/jwks", clerk.url);
    let published = [("CLERK_JWKS_URL", jwks.as_str()), ("CLERK_ISSUER", ISSUER)];
    let [key, api] = leading_to(&clerk);
    let report = doctor(&url, &[&[key, api], published.as_slice()].concat()).await;
    assert_eq!((report.code, report.about(CHECK).0), (0, "ok"), "{:#?}", report.lines);
    let wrong = [("CLERK_SECRET_KEY", "sk_live_t0psecret_old"), api];
    let report = doctor(&url, &[&wrong, published.as_slice()].concat()).await;
    report.names("api-key", "CLERK_SECRET_KEY");
    assert_eq!(report.about(CHECK).0, "skip");
    // Without a key Clerk does not tell.
    doctor(&url, &[&[api], published.as_slice()].concat()).await.names(CHECK, "CLERK_SECRET_KEY");
}
