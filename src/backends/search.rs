//! The search seam: people found by what somebody types, in the database or in Meilisearch.
//!
//! Both answer alike: every word typed must be found at the start of a word of the display name, the names, the
//! username or the e-mail address; case and diacritics do not matter; in words of five letters or more one slip
//! after the first letter is forgiven, and whoever was found without one comes first. What is typed is plain text,
//! whatever it looks like.
//!
//! CJK names are found as they are written: family and given name without a space, in either order, by either part, and by
//! their first character ([`spellings`]). Compatibility forms (full-width, half-width, combining marks) do not matter.
//!
//! They differ in this: Meilisearch takes only the last word for unfinished and forgives one slip a word, the
//! database one a query; the database also reads ł, ø, ß and their like as people without the key write them, and
//! a whole address as one word.
//!
//! Holds nothing that a rebuild cannot make anew (P7). Who is deleted is removed, never found.

mod database;
mod error;
mod http;
mod meili;
mod patterns;
mod rank;
mod spellings;
mod split;
mod typos;
mod words;

use serde::Serialize;
use uuid::Uuid;

pub use database::Database;
pub use error::SearchError;
pub use meili::Meili;
pub(crate) use spellings::is_cjk;

use crate::{config, db::Db};

/// Results that one search gives at most.
const MOST: usize = 100;

/// Version of what is derived from a person for the index: the words of [`words`], the fields of Meilisearch's documents.
/// Raised with every change of them, so that an index of older documents is rebuilt.
pub const DOCUMENT_VERSION: u32 = 2;

/// What is indexed of a person. No metadata, ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns of users, where they are documented")]
pub struct Doc {
    pub user_id: Uuid,
    pub rev: i64,
    pub clerk_id: Option<String>,
    pub display_name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub image_url: Option<String>,
    pub status: String,
}

impl Doc {
    /// A deleted person's document is a deletion, however it got here.
    fn is_deleted(&self) -> bool {
        self.status == "deleted"
    }
}

/// The search index. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Search {
    /// In the team's own database.
    Database(Database),
    /// In Meilisearch.
    Meili(Meili),
}

impl Search {
    /// Meilisearch where `meili.url` is set, else the database. Talks to nobody yet.
    ///
    /// # Errors
    /// [`SearchError::Config`] when a setting of Meilisearch cannot be used.
    pub fn new(db: &Db, config: &config::Meili) -> Result<Self, SearchError> {
        if config.url.is_empty() {
            return Ok(Self::Database(Database::new(db.clone())));
        }
        Meili::new(config).map(Self::Meili)
    }

    /// Makes the index and its settings if they are not there. To be called once before anything else; again does
    /// no harm.
    ///
    /// # Errors
    /// When Meilisearch cannot be reached or refuses. The database's tables come from the migrations.
    pub async fn prepare(&self) -> Result<(), SearchError> {
        match self {
            Self::Database(_) => Ok(()),
            Self::Meili(meili) => meili.prepare().await,
        }
    }

    /// Whether the backend answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), SearchError> {
        match self {
            Self::Database(database) => database.ping().await,
            Self::Meili(meili) => meili.ping().await,
        }
    }

    /// Asks Meilisearch for all that we ask of it, and changes nothing. Answers whether the index is there.
    ///
    /// # Errors
    /// When a setting cannot be used, it cannot be reached, or refuses the key something.
    pub async fn probe(config: &config::Meili) -> Result<bool, SearchError> {
        Meili::new(config)?.probe().await
    }

    /// Writes a batch, one entry a person: documents to find, and people to find no more with the `rev` of their end.
    /// Done when it returns, and harmless to repeat.
    ///
    /// The database writes nothing below the `rev` that is stored. Meilisearch has no such guard: hand it the rows
    /// as they are now, in the order of the cursor.
    ///
    /// # Errors
    /// Transient: nothing can be said about what was written; do it again. Permanent
    /// ([`SearchError::is_permanent`]): all but [`SearchError::refused`] was written.
    pub async fn apply(&self, upserts: Vec<Doc>, deletes: Vec<(Uuid, i64)>) -> Result<(), SearchError> {
        match self {
            Self::Database(database) => database.apply(upserts, deletes).await,
            Self::Meili(meili) => meili.apply(upserts, deletes).await,
        }
    }

    /// Takes one person out of the index.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn remove_user(&self, user_id: Uuid, rev: i64) -> Result<(), SearchError> {
        self.apply(Vec::new(), vec![(user_id, rev)]).await
    }

    /// Whoever fits what was typed, best first, at most `limit` (1 to 100). Nothing typed finds nobody.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    pub async fn search(&self, q: &str, limit: usize) -> Result<Vec<Uuid>, SearchError> {
        let limit = limit.clamp(1, MOST);
        match self {
            Self::Database(database) => database.search(q, limit).await,
            Self::Meili(meili) => meili.search(q, limit).await,
        }
    }

    /// Begins to build the index anew, aside; searches see the present one until [`Rebuild::finish`]. Sweeps away
    /// what an earlier rebuild left behind, and takes the place of one that is still under way.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    pub async fn rebuild(&self) -> Result<Rebuild, SearchError> {
        Ok(Rebuild(match self {
            Self::Database(database) => Aside::Database(database::Rebuild::begin(database.clone()).await?),
            Self::Meili(meili) => Aside::Meili(meili::Rebuild::begin(meili.clone()).await?),
        }))
    }
}

/// An index being built. What changes meanwhile is to be applied again after [`finish`](Self::finish): set the
/// cursor back to where it stood before [`Search::rebuild`].
#[derive(Debug)]
pub struct Rebuild(Aside);

#[derive(Debug)]
enum Aside {
    Database(database::Rebuild),
    Meili(meili::Rebuild),
}

impl Rebuild {
    /// Adds documents; a page of some hundreds is a good size.
    ///
    /// # Errors
    /// As [`Search::apply`]: after a permanent one all others of the page are in, and the rebuild can go on.
    pub async fn add(&self, docs: Vec<Doc>) -> Result<(), SearchError> {
        match &self.0 {
            Aside::Database(rebuild) => rebuild.add(docs).await,
            Aside::Meili(rebuild) => rebuild.add(docs).await,
        }
    }

    /// Puts the new index in the place of the old at once, and removes the old.
    ///
    /// # Errors
    /// [`SearchError::Superseded`] when another rebuild has begun; else as the backend says. After an error either
    /// index may be the live one: begin again.
    pub async fn finish(self) -> Result<(), SearchError> {
        match self.0 {
            Aside::Database(rebuild) => rebuild.finish().await,
            Aside::Meili(rebuild) => rebuild.finish().await,
        }
    }
}
