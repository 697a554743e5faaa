//! Settings that are compared with what browsers and Clerk send: in whatever form an operator writes them, they either work
//! or are refused at start with key, problem and remedy.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::bed::Bed;
use crate::support::{
    issuer::Issuer,
    process::run_on,
    server::{READER, Server, answer},
    services,
    ws::Client,
};

/// What a token and its page bring.
const ISSUER: &str = "https://clerk.example.com";
const PAGE: &str = "https://app.example.com";

/// The key that an environment variable sets.
fn key(variable: &str) -> &'static str {
    match variable {
        "CLERK_ISSUER" => "clerk.issuer",
        "CLERK_AUTHORIZED_PARTIES" => "clerk.authorized_parties",
        "CLERK_SYNC__GATEWAY__ORIGINS" => "gateway.origins",
        other => panic!("{other}"),
    }
}

/// What the real loading makes of one environment.
fn load(variable: &str, value: &str) -> Result<(), String> {
    let pem = Issuer::ours().pem();
    let environment = [("CLERK_JWT_KEY", pem.as_str()), ("CLERK_ISSUER", ISSUER), (variable, value)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    clerk_sync::config::load(None, environment.into()).map(drop).map_err(|error| error.to_string())
}

/// That a server with this setting lets the page in, with its token, over HTTP and the websocket.
async fn works(variable: &str, value: &str) {
    let pem = Issuer::ours().pem();
    let mut settings = vec![("clerk.jwt_key", pem.as_str()), ("clerk.issuer", ISSUER)];
    settings.retain(|(known, _)| *known != key(variable));
    settings.push((key(variable), value));
    let bed = Bed::of(Server::start(&settings).await);
    bed.person("ada", 1, json!({})).await;
    let token = bed.token_with("ada", json!({"iss": ISSUER, "azp": PAGE}));
    let me = answer(bed.server.request(Method::GET, "/v1/users/me", &token).header(header::ORIGIN, PAGE)).await;
    assert_eq!((me.status, me.header("access-control-allow-origin")), (200, PAGE), "{variable}={value}: {}", me.text);
    let address = bed.server.url.trim_start_matches("http://").parse().unwrap();
    let mut client = Client::open(address, &[("origin", PAGE)], None).await.unwrap();
    assert_eq!(client.auth(&token).await["user"]["clerk_id"], "user_ada", "{variable}={value}");
    // It is the setting that lets them in.
    if key(variable) == "gateway.origins" {
        let other = answer(
            bed.server
                .request(Method::GET, "/v1/users/user_ada", READER)
                .header(header::ORIGIN, "https://evil.example"),
        );
        assert_eq!(other.await.header("access-control-allow-origin"), "", "{value}");
        assert!(Client::open(address, &[("origin", "https://evil.example")], None).await.is_err(), "{value}");
    } else {
        let evil = json!({"iss": "https://clerk.evil.example", "azp": PAGE});
        let party = json!({"iss": ISSUER, "azp": "https://evil.example"});
        let wrong = bed.token_with("ada", if key(variable) == "clerk.issuer" { evil } else { party });
        assert_eq!(bed.server.get("/v1/users/me", &wrong).await.status, 401, "{value}");
    }
}

#[tokio::test]
async fn a_setting_works_or_is_refused_at_start_with_key_and_remedy() {
    let case: Value = serde_json::from_str(include_str!("../../cases/05-settings.json")).unwrap();
    assert_eq!((&case["token"]["iss"], &case["token"]["azp"]), (&json!(ISSUER), &json!(PAGE)));
    let mut settings: Vec<(String, String)> = Vec::new();
    for alone in case["each_alone"].as_array().unwrap() {
        let (variable, value) = alone.as_object().unwrap().iter().next().unwrap();
        settings.push((variable.clone(), value.as_str().unwrap().to_owned()));
    }
    for issuer in
        ["HTTPS://CLERK.EXAMPLE.COM", "https://clerk.example.com/.well-known/jwks.json", "http://clerk.example.com"]
    {
        settings.push(("CLERK_ISSUER".into(), issuer.into()));
    }
    for list in [
        r#"["https://a.example.com","https://app.example.com"]"#,
        "https://a.example.com https://app.example.com",
        "HTTPS://App.Example.com",
        "'https://app.example.com'",
        "https://*.example.com",
        "*",
        "https://app.example.com/path",
        "https://u:pw@app.example.com",
        "https://app.example.com?x=1",
        "capacitor://localhost,https://app.example.com",
        "wss://app.example.com",
    ] {
        for variable in ["CLERK_AUTHORIZED_PARTIES", "CLERK_SYNC__GATEWAY__ORIGINS"] {
            settings.push((variable.into(), list.into()));
        }
    }
    let mut refused = Vec::new();
    for (variable, value) in &settings {
        match load(variable, value) {
            Ok(()) => works(variable, value).await,
            Err(error) => {
                assert!(error.contains(key(variable)) && error.contains(variable.as_str()), "{value}: {error}");
                assert!(error.contains("Set "), "{value}: {error}");
                assert!(!error.contains("pw@"), "{value}: {error}");
                refused.push(value.as_str());
            }
        }
    }
    for ambiguous in ["clerk.example.com", "app.example.com", "*", "https://*.example.com"] {
        assert!(refused.contains(&ambiguous), "{ambiguous}: {refused:?}");
    }
    assert_eq!(refused.len(), 16, "{refused:?}");
}

#[tokio::test]
async fn serve_does_not_start_with_a_setting_that_can_never_match() {
    let (_folder, database) = services::sqlite();
    for (variable, value) in [
        ("CLERK_ISSUER", "clerk.example.com"),
        ("CLERK_AUTHORIZED_PARTIES", "https://*.example.com"),
        ("CLERK_SYNC__GATEWAY__ORIGINS", "*"),
    ] {
        let environment = [("CLERK_WEBHOOK_SIGNING_SECRET", crate::support::process::SECRET), (variable, value)];
        let output = run_on(&database, &["serve"], &environment);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(key(variable)) && errors.contains(variable), "{errors}");
    }
}

/// A file of TOML has lists, which are read by the same rules.
#[test]
fn a_list_of_a_file_is_normalized_like_one_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let write = |lists: &str| std::fs::write(&path, lists).unwrap();
    write(
        "[clerk]\nauthorized_parties = [\"https://A.example/\", \"tauri://localhost\"]\n[gateway]\norigins = [\"https://a.example:443\"]\n",
    );
    let config = clerk_sync::config::load(Some(&path), Default::default()).unwrap();
    assert_eq!(config.clerk.authorized_parties, ["https://a.example", "tauri://localhost"]);
    assert_eq!(config.gateway.origins, ["https://a.example"]);
    write("[gateway]\norigins = [\"https://a.example\", \"b.example\"]\n");
    let error = clerk_sync::config::load(Some(&path), Default::default()).unwrap_err().to_string();
    assert!(error.contains("gateway.origins: entry 2 of 2 has no scheme"), "{error}");
}
