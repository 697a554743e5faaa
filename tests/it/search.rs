//! Conformance of the search seam: the same cases over the database (SQLite, and Postgres where `TEST_POSTGRES_URL`
//! names a server to make databases on) and Meilisearch (the double, and the real one where `MEILI_URL` names it).

mod beds;
mod cases;
mod database;
mod meili;
mod rebuilds;

use beds::Bed;

/// Each case on each backend; a backend that is not there skips.
macro_rules! conformance {
    ($($file:ident: [$($case:ident),* $(,)?],)*) => {
        mod sqlite {
            use super::*;
            $($(#[tokio::test] async fn $case() { run(Bed::sqlite().await, $file::$case).await })*)*
        }
        mod postgres {
            use super::*;
            $($(#[tokio::test] async fn $case() { run_if(Bed::postgres().await, $file::$case).await })*)*
        }
        mod meili_double {
            use super::*;
            $($(#[tokio::test] async fn $case() { run(Bed::double().await, $file::$case).await })*)*
        }
        mod meili_real {
            use super::*;
            $($(#[tokio::test] async fn $case() { run_if(Bed::real().await, $file::$case).await })*)*
        }
    };
}

conformance! {
    cases: [
        finds_by_the_beginning_of_each_field,
        finds_several_words_in_any_order,
        forgives_one_slip,
        ignores_case_and_diacritics,
        finds_cjk_names_as_they_are_written,
        finds_every_form_of_a_character,
        puts_the_best_first,
        replaces_on_update,
        deletes,
        takes_what_is_typed_as_plain_text,
        honours_the_limit,
        holds_five_thousand,
        prepares_twice_and_answers,
    ],
    rebuilds: [rebuilds_aside, sweeps_away_an_abandoned_rebuild, lets_the_later_rebuild_win],
}

async fn run(bed: Bed, case: impl AsyncFnOnce(&Bed)) {
    case(&bed).await;
    bed.close().await;
}

async fn run_if(bed: Option<Bed>, case: impl AsyncFnOnce(&Bed)) {
    if let Some(bed) = bed {
        run(bed, case).await;
    }
}
