//! The services that `tests/run` starts, found through the environment. (Replaced by the real one when merged.)

pub(crate) struct Postgres(String);
impl Postgres {
    pub(crate) fn url(&self) -> &str {
        &self.0
    }
}
pub(crate) fn postgres() -> Option<Postgres> {
    let url = std::env::var("TEST_POSTGRES_URL").ok()?;
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    let out =
        std::process::Command::new("psql").arg(&url).arg("-c").arg(format!("create database {name}")).output().unwrap();
    assert!(out.status.success());
    Some(Postgres(format!("{}/{name}", url.rsplit_once('/').unwrap().0)))
}
pub(crate) fn sqlite() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/t.db", dir.path().display());
    (dir, url)
}
