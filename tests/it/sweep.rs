//! Inputs that went well, kept as one table each, so that they stay well: real HTTP, real signatures, to the rows.

use std::{net::SocketAddr, time::Duration};

use clerk_sync::{clerk::signature::Verifier, clock::Clock, db::Stmt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    people::{address, user, with},
    process::{SECRET, post},
    world::{World, sqlite, worlds},
};

/// Delivers every user by HTTP and waits until each was created.
async fn all_are_created(world: &World, bodies: &[(String, String)]) {
    let running = world.serve().await;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let url = format!("http://{}", running.addr);
    for (id, body) in bodies {
        assert_eq!(post(&client, &url, id, body.as_bytes()).await, Some(200), "{}: {id}", world.name);
    }
    assert!(running.stop().await);
    world.drain().await;
    for (id, _) in bodies {
        let row = world.inbox(id).await;
        assert_eq!(row.outcome.as_deref(), Some("created"), "{}: {id}: {:?}", world.name, row.reason);
    }
}

/// One text a row of a statement, sorted by the statement.
async fn texts(world: &World, sql: &'static str) -> Vec<String> {
    let rows = Stmt::new(&world.app.db.read, sql).all(&world.app.db.read).await.unwrap();
    rows.iter().map(|row| row.try_get::<Option<String>>("", "t").unwrap().unwrap_or_default()).collect()
}

const STRATEGIES: [&str; 19] = [
    "admin",
    "email_code",
    "email_link",
    "from_oauth_github",
    "from_oauth_google",
    "google_one_tap",
    "oauth_custom_acme",
    "oauth_google",
    "oauth_token_google",
    "passkey",
    "phone_code",
    "reset_password_email_code",
    "saml",
    "scim",
    "ticket",
    "web3_base_signature",
    "web3_coinbase_wallet_signature",
    "web3_metamask_signature",
    "a_strategy_of_tomorrow",
];

/// The shapes in which one verification comes: the oldest, today's, and with everything null that may be.
fn verifications(strategy: &str, status: &str) -> [Value; 3] {
    [
        json!({"status": status, "strategy": strategy}),
        json!({"object": "verification_otp", "status": status, "strategy": strategy, "attempts": 1, "expire_at": 1_760_000_600_000_u64,
            "verified_at_client": "client_1", "error": null, "channel": null}),
        json!({"status": status, "strategy": strategy, "attempts": null, "expire_at": null, "nonce": null, "message": null,
            "error": {"code": "x", "message": "m", "long_message": "l", "meta": {}}}),
    ]
}

#[tokio::test]
async fn verifications_of_every_strategy_and_status_are_read() {
    let mut bodies = Vec::new();
    let statuses = ["verified", "unverified", "failed", "expired", "transferable"];
    for (index, strategy) in STRATEGIES.iter().enumerate() {
        for (shape, verification) in verifications(strategy, "verified").into_iter().enumerate() {
            let name = format!("s{index}x{shape}");
            let mut email = address(&format!("{name}@verified.example"), "idn_1");
            email["verification"] = verification;
            bodies.push((format!("msg_{name}"), with(user(&name, 1), "email_addresses", json!([email])).to_string()));
        }
    }
    for (index, status) in statuses.iter().skip(1).enumerate() {
        for (shape, verification) in verifications("email_code", status).into_iter().chain([Value::Null]).enumerate() {
            let name = format!("u{index}x{shape}");
            let mut email = address(&format!("{name}@unverified.example"), "idn_1");
            email["verification"] = verification;
            bodies.push((format!("msg_{name}"), with(user(&name, 1), "email_addresses", json!([email])).to_string()));
        }
    }
    for world in worlds(&[]).await {
        all_are_created(&world, &bodies).await;
        let verified = "select email_address as t from clerk_sync.email_addresses where verified";
        let verified = texts(&world, verified).await;
        assert_eq!(verified.len(), STRATEGIES.len() * 3, "{}", world.name);
        assert!(verified.iter().all(|address| address.ends_with("@verified.example")), "{}: {verified:?}", world.name);
    }
}

#[tokio::test]
async fn external_accounts_come_in_three_shapes_and_in_lists_of_their_own() {
    let ok = json!({"status": "verified", "strategy": "oauth_google"});
    let shapes = [
        (
            "spec",
            "external_accounts",
            json!({"object": "external_account", "id": "eac_1", "identification_id": "idn_2", "provider": "oauth_google",
            "provider_user_id": "g-spec", "first_name": "", "verification": ok}),
        ),
        (
            "google2024",
            "external_accounts",
            json!({"object": "google_account", "id": "idn_2", "google_id": "g-2024", "given_name": "A", "family_name": "B",
            "picture": "https://img.example/x", "verification": ok}),
        ),
        (
            "google2026",
            "external_accounts",
            json!({"object": "google_account", "provider": "google", "external_account_id": "eac_3", "google_id": "g-2026",
            "verification": null}),
        ),
        (
            "number",
            "external_accounts",
            json!({"object": "facebook_account", "facebook_id": 10_223_372_036_854_775_807_u64}),
        ),
        (
            "saml",
            "saml_accounts",
            json!({"object": "saml_account", "provider": "saml_okta", "provider_user_id": "s-1", "verification": {"status": "verified", "strategy": "saml"}}),
        ),
    ];
    let bodies = shapes
        .map(|(name, list, account)| (format!("msg_{name}"), with(user(name, 1), list, json!([account])).to_string()));
    for world in worlds(&[]).await {
        all_are_created(&world, &bodies).await;
        let all = "select provider || ' ' || provider_subject_id as t from clerk_sync.federated_identities order by t";
        let expected =
            ["facebook 10223372036854775807", "google g-2024", "google g-2026", "google g-spec", "saml_okta s-1"];
        assert_eq!(texts(&world, all).await, expected, "{}", world.name);
    }
}

#[tokio::test]
async fn lists_objects_and_texts_that_are_null_are_empty() {
    let lists = [
        "phone_numbers",
        "web3_wallets",
        "passkeys",
        "external_accounts",
        "saml_accounts",
        "enterprise_accounts",
        "organization_memberships",
    ];
    let objects = ["public_metadata", "private_metadata", "unsafe_metadata"];
    let texts = [
        "username",
        "external_id",
        "image_url",
        "locale",
        "last_sign_in_at",
        "primary_phone_number_id",
        "banned",
        "scim",
    ];
    let mut bodies = Vec::new();
    for member in lists.into_iter().chain(objects).chain(texts) {
        bodies
            .push((format!("msg_{member}"), with(user(&format!("null_{member}"), 1), member, Value::Null).to_string()));
    }
    let mut nothing = user("null_all", 1);
    for member in lists.into_iter().chain(objects).chain(texts).chain(["email_addresses", "primary_email_address_id"]) {
        nothing["data"][member] = Value::Null;
    }
    bodies.push(("msg_all".into(), nothing.to_string()));
    for world in worlds(&[("entry.require_email", "false".into())]).await {
        all_are_created(&world, &bodies).await;
    }
}

const NAMES: [&str; 16] = [
    "أحمد",
    "עברית",
    "李小龍",
    "𠮷野家",
    "ひらがな",
    "カタカナ",
    "한국어",
    "ไทย",
    "महेश",
    "Ελένη",
    "Владимир",
    "José Ñandú",
    "Þórr",
    "O'Brien-Smith",
    "🙂🏽‍🚀",
    "a\u{301}e\u{308}",
];

#[tokio::test]
async fn names_of_every_script_are_stored_as_they_are() {
    let body = |(index, name): (usize, &&str)| {
        let body = with(with(user(&format!("n{index}"), 1), "first_name", json!(name)), "last_name", json!(name));
        // As characters, and as escapes, which are pairs of surrogates beyond the first plane.
        let text = body.to_string();
        let escaped = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        let text = if index % 2 == 0 { text } else { text.replace(name, &escaped) };
        (format!("msg_{index}"), text)
    };
    let bodies: Vec<_> = NAMES.iter().enumerate().map(body).collect();
    for world in worlds(&[]).await {
        all_are_created(&world, &bodies).await;
        let mut found = texts(&world, "select first_name as t from clerk_sync.users").await;
        let mut expected = NAMES.map(str::to_owned);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{}", world.name);
    }
}

#[tokio::test]
async fn nul_and_integers_of_64_bits_are_kept() {
    let bodies = [
        ("nul", json!({"first": "a\u{0}b"}).to_string()),
        ("i64", r#"{"least":-9223372036854775808,"most":9223372036854775807,"odd":9007199254740993}"#.to_owned()),
        ("u64", r#"{"most":18446744073709551615}"#.to_owned()),
    ];
    let bodies = bodies.map(|(name, metadata)| {
        let body = with(with(user(name, 1), "public_metadata", json!("HERE")), "last_name", json!("N\u{0}l"));
        (format!("msg_{name}"), body.to_string().replace(r#""HERE""#, &metadata))
    });
    for world in worlds(&[]).await {
        all_are_created(&world, &bodies).await;
        let all =
            texts(&world, "select cast(public_metadata as text) as t from clerk_sync.user_metadata").await.concat();
        for digits in
            ["-9223372036854775808", "9223372036854775807", "9007199254740993", "18446744073709551615", "a\u{fffd}b"]
        {
            assert!(all.contains(digits), "{}: {digits}: {all}", world.name);
        }
        assert_eq!(
            texts(&world, "select distinct last_name as t from clerk_sync.users").await,
            ["N\u{fffd}l"],
            "{}",
            world.name
        );
    }
}

fn sign(secret: &str, id: &str, at: i64, body: &str) -> String {
    Verifier::new(secret, Duration::from_secs(300)).unwrap().sign(id, at, body.as_bytes()).unwrap()
}

/// Writes a request as it stands; returns the status.
async fn raw(address: SocketAddr, request: &str) -> u16 {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no status in {answer:?}"))
}

/// A body in chunks of seven bytes.
fn chunked(body: &str) -> String {
    let chunks = body
        .as_bytes()
        .chunks(7)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    format!("{}0\r\n\r\n", chunks.collect::<String>())
}

const OTHER: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz";

#[tokio::test]
async fn requests_of_every_form_are_accepted() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let at = Clock::system().now().timestamp();
    let length = |body: &str| format!("content-length: {}\r\n\r\n{body}", body.len());
    let in_chunks = |body: &str| format!("transfer-encoding: chunked\r\n\r\n{}", chunked(body));
    type Frame<'a> = &'a dyn Fn(&str) -> String;
    type Headers<'a> = &'a dyn Fn(&str, i64, &str) -> String;
    let plain: Headers<'_> =
        &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: {good}\r\n");
    let cases: [(&str, &str, Frame<'_>, Headers<'_>, u16); 14] = [
        ("length", "HTTP/1.1", &length, plain, 200),
        ("chunked", "HTTP/1.1", &in_chunks, plain, 200),
        ("http10", "HTTP/1.0", &length, plain, 200),
        (
            "two_good",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: {good} {good}\r\n"),
            200,
        ),
        (
            "bad_then_good",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: v1,AAAA {good}\r\n"),
            200,
        ),
        (
            "good_then_bad",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: {good} v1,AAAA\r\n"),
            200,
        ),
        (
            "v1a_then_v1",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: v1a,aGVsbG8= {good}\r\n"),
            200,
        ),
        (
            "v2_and_v1",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: v2,x v99,y {good}\r\n"),
            200,
        ),
        (
            "webhook",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("webhook-id: {id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: {good}\r\n"),
            200,
        ),
        (
            "capitals",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("Svix-Id: {id}\r\nSVIX-TIMESTAMP: {at}\r\nSvix-Signature: {good}\r\n"),
            200,
        ),
        (
            "charset",
            "HTTP/1.1",
            &length,
            &|id, at, good| {
                format!(
                    "content-type: Application/JSON; charset=utf-8\r\nsvix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: {good}\r\n"
                )
            },
            200,
        ),
        (
            "only_v1a",
            "HTTP/1.1",
            &length,
            &|id, at, good| {
                format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: {}\r\n", good.replace("v1,", "v1a,"))
            },
            401,
        ),
        (
            "only_v2",
            "HTTP/1.1",
            &length,
            &|id, at, good| {
                format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: {}\r\n", good.replace("v1,", "v2,"))
            },
            401,
        ),
        (
            "joined_by_commas",
            "HTTP/1.1",
            &length,
            &|id, at, good| format!("svix-id: {id}\r\nsvix-timestamp: {at}\r\nsvix-signature: v1,AAAA,{good}\r\n"),
            401,
        ),
    ];
    for (name, version, frame, headers, status) in &cases {
        let (id, body) = (format!("msg_{name}"), user(name, 1).to_string());
        let headers = headers(&id, at, &sign(SECRET, &id, at, &body));
        let request = format!("POST /webhooks/clerk {version}\r\nhost: x\r\n{headers}{}", frame(&body));
        assert_eq!(raw(running.addr, &request).await, *status, "{name}");
    }
    assert!(running.stop().await);
    world.drain().await;
    for (name, .., status) in &cases {
        if *status == 200 {
            assert_eq!(world.inbox(&format!("msg_{name}")).await.outcome.as_deref(), Some("created"), "{name}");
        }
    }
}

/// Secrets as they are pasted: with blanks and line ends, several, with and without their prefix.
#[tokio::test]
async fn secrets_of_every_form_verify() {
    let bare = OTHER.trim_start_matches("whsec_");
    let at = Clock::system().now();
    let forms = [
        OTHER.to_owned(),
        bare.to_owned(),
        format!("  {OTHER}\n"),
        format!("{SECRET},{OTHER}"),
        format!(" {OTHER} , {SECRET} ,"),
        format!(",{SECRET},,{bare},"),
    ];
    for form in forms {
        let verifier =
            Verifier::new(&form, Duration::from_secs(300)).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("svix-id", "msg_1".parse().unwrap());
        headers.insert("svix-timestamp", at.timestamp().into());
        headers.insert("svix-signature", sign(OTHER, "msg_1", at.timestamp(), "{}").parse().unwrap());
        assert_eq!(verifier.verify(&headers, b"{}", at), Ok("msg_1"), "{form:?}");
        assert!(verifier.verify(&headers, b"{ }", at).is_err(), "{form:?}");
    }
}
