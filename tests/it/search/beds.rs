//! Backends to run the cases on, each fresh.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use clerk_sync::{
    backends::search::{Doc, Search},
    config::{self, Config},
    db::{self, Db},
};
use sea_orm::{ConnectionTrait as _, Database};
use uuid::Uuid;

use crate::support::meili::{Double, KEY};

/// A prepared index and what it stands on.
pub(super) struct Bed {
    pub(super) search: Search,
    pub(super) db: Db,
    pub(super) double: Option<Double>,
    folder: tempfile::TempDir,
    /// A server and the database that was made on it.
    made: Option<(String, String)>,
    index: Option<config::Meili>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

fn number() -> String {
    format!("{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn config() -> Config {
    config::load(None, HashMap::new()).unwrap()
}

impl Bed {
    async fn open(mut config: Config, folder: tempfile::TempDir) -> Self {
        if config.database.url.expose().starts_with("sqlite://data") {
            config.database.url = format!("sqlite://{}/search.db", folder.path().display()).as_str().into();
        }
        let db = db::connect(&config.database).await.unwrap();
        db::migrate(&db).await.unwrap();
        let search = Search::new(&db, &config.meili).unwrap();
        search.prepare().await.unwrap();
        Self { search, db, double: None, folder, made: None, index: None }
    }

    pub(super) async fn sqlite() -> Self {
        Self::open(config(), tempfile::tempdir().unwrap()).await
    }

    pub(super) async fn postgres() -> Option<Self> {
        let server = std::env::var("TEST_POSTGRES_URL").ok()?;
        let name = format!("t_search_{}", number());
        let admin = Database::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("create database {name}")).await.unwrap();
        admin.close().await.unwrap();
        let mut url = reqwest::Url::parse(&server).unwrap();
        url.set_path(&name);
        let mut config = config();
        config.database.url = url.as_str().into();
        config.database.max_connections = 3;
        config.database.max_read_connections = 3;
        let mut bed = Self::open(config, tempfile::tempdir().unwrap()).await;
        bed.made = Some((server, name));
        Some(bed)
    }

    pub(super) async fn double() -> Self {
        let double = Double::start().await;
        let mut config = config();
        config.meili.url = format!("{}/", double.url()).as_str().into();
        config.meili.master_key = KEY.into();
        config.meili.task_timeout = Duration::from_secs(5);
        let mut bed = Self::open(config, tempfile::tempdir().unwrap()).await;
        double.requests();
        bed.double = Some(double);
        bed
    }

    pub(super) async fn real() -> Option<Self> {
        let mut config = config();
        config.meili.url = std::env::var("MEILI_URL").ok().filter(|url| !url.is_empty())?.as_str().into();
        config.meili.master_key = std::env::var("MEILI_MASTER_KEY").unwrap_or_default().as_str().into();
        config.meili.index = format!("t_search_{}", number());
        let index = config.meili.clone();
        let mut bed = Self::open(config, tempfile::tempdir().unwrap()).await;
        bed.index = Some(index);
        Some(bed)
    }

    /// Leaves nothing behind on servers that outlive the test.
    pub(super) async fn close(self) {
        let Self { db, folder, made, index, .. } = self;
        db.write.close().await.unwrap();
        db.read.close().await.unwrap();
        drop(folder);
        if let Some((server, name)) = made {
            let admin = Database::connect(&server).await.unwrap();
            admin.execute_unprepared(&format!("drop database {name} with (force)")).await.unwrap();
            admin.close().await.unwrap();
        }
        if let Some(index) = index {
            let url = format!("{}/indexes/{}", index.url.expose().trim_end_matches('/'), index.index);
            reqwest::Client::new().delete(url).bearer_auth(index.master_key.expose()).send().await.unwrap();
        }
    }

    pub(super) async fn put(&self, docs: &[Doc]) {
        self.search.apply(docs.to_vec(), vec![]).await.unwrap();
    }

    /// Each of the queries finds these people and nobody else, in this order.
    #[track_caller]
    pub(super) fn expect<'a>(&'a self, queries: &'a [&'a str], found: &'a [u128]) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            for q in queries {
                assert_eq!(self.find(q).await, found, "{q:?}, asked at {caller}");
            }
        }
    }

    /// Who is found, as the numbers that [`person`] was given.
    pub(super) async fn find(&self, q: &str) -> Vec<u128> {
        self.search.search(q, 100).await.unwrap().into_iter().map(|id| id.as_u128()).collect()
    }
}

/// A person with a number for an id.
pub(super) fn person(id: u128, first: &str, last: &str, username: &str, email: &str) -> Doc {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Doc {
        user_id: Uuid::from_u128(id),
        rev: 1,
        clerk_id: Some(format!("user_{id}")),
        display_name: given(format!("{first} {last}").trim()),
        first_name: given(first),
        last_name: given(last),
        username: given(username),
        email: given(email),
        image_url: Some("https://img.example/x.png".into()),
        status: "active".into(),
    }
}
