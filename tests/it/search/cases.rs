//! What every backend must do.

use std::time::{Duration, Instant};

use clerk_sync::backends::search::{Doc, Search};
use uuid::Uuid;

use super::beds::{Bed, person};

pub(super) fn some() -> Vec<Doc> {
    vec![
        person(1, "Jonas", "Lindqvist", "jlind", "jonas.lindqvist@example.com"),
        person(2, "Maria", "Oliveira", "mary-oli", "m.oliveira@beispiel.de"),
        person(3, "Zoë", "Müller", "zoemue", "zoe@mueller.example"),
        person(4, "Łukasz", "Wiśniewski", "lukwis", "lw@praca.pl"),
    ]
}

pub(super) async fn finds_by_the_beginning_of_each_field(bed: &Bed) {
    let mut docs = some();
    docs[0].display_name = Some("The Viking".into());
    bed.put(&docs).await;
    bed.expect(
        &["vik", "v", "vi", "jon", "lindq", "jlin", "jonas.lindqvist@example.com", "jonas.lindqvist@exam"],
        &[1],
    )
    .await;
    bed.expect(&["oliveira", "mary-oli", "mary-o", "oli", "beispiel", "m.oliveira@beispiel.de"], &[2]).await;
    bed.expect(&["jonas.lindq"], &[1]).await;
    bed.expect(&["pra", "lw@p"], &[4]).await;
    bed.expect(&["onas", "quist", "king", "nobody", "x", "qz", "jonas maria"], &[]).await;
    bed.expect(&["", " ", "\t\n", "user_1", "active", "img.example/x.png"], &[]).await;
}

pub(super) async fn finds_several_words_in_any_order(bed: &Bed) {
    bed.put(&some()).await;
    bed.expect(&["jonas lind", "lindqvist jon", "jonas example lindqv", "  jonas   lindqvist  "], &[1]).await;
    bed.expect(&["jonas oliveira"], &[]).await;
}

pub(super) async fn forgives_one_slip(bed: &Bed) {
    bed.put(&some()).await;
    bed.expect(&["jomas", "joans", "jonnas", "lindqist", "lindqvits", "jonas lindqvits"], &[1]).await;
    bed.expect(&["olivera", "oliveirra", "oilveira", "oliviera", "mraia"], &[2]).await;
    bed.expect(&["wisniewsky", "wisnieski"], &[4]).await;
    // Two slips, a short word, a wrong first letter, and what is like nothing.
    bed.expect(&["lindqvitsx", "zoee", "jmoas", "onas", "ojnas", "honas", "liveira"], &[]).await;
    bed.expect(&["xxxxx", "qwertz", "jonathan", "abcdefghij"], &[]).await;
}

pub(super) async fn ignores_case_and_diacritics(bed: &Bed) {
    bed.put(&some()).await;
    bed.expect(&["ZOE", "zoë", "muller", "MÜLLER"], &[3]).await;
    bed.expect(&["łukasz", "ŁUKASZ", "wisniewski", "WIŚNIE"], &[4]).await;
    bed.expect(&["Jönas"], &[1]).await;
}

pub(super) async fn finds_cjk_names_as_they_are_written(bed: &Bed) {
    bed.put(&some()).await;
    bed.put(&[
        person(11, "花子", "佐藤", "", "hanako@example.com"),
        person(12, "민수", "김", "", "minsu@example.com"),
        person(13, "小明", "王", "", "wang@example.com"),
        person(14, "Anna", "林", "", "anna.lin@example.com"),
        person(15, "健 太", "", "kenta", "kenta@example.com"),
    ])
    .await;
    bed.expect(
        &["佐藤花子", "花子佐藤", "佐藤 花子", "佐藤\u{3000}花子", "花子 佐藤", "佐藤花", "花子", "佐藤", "佐"],
        &[11],
    )
    .await;
    bed.expect(&["김민수", "민수김", "김 민수", "민수", "김", "민"], &[12]).await;
    bed.expect(&["王小明", "小明王", "王 小明", "小明", "王"], &[13]).await;
    bed.expect(&["林Anna", "Anna林", "anna 林", "林 ANNA", "林"], &[14]).await;
    bed.expect(&["健太", "健 太"], &[15]).await;
    bed.expect(&["佐藤小明", "王花子", "金", "佐藤 마"], &[]).await;
}

pub(super) async fn finds_every_form_of_a_character(bed: &Bed) {
    bed.put(&[
        person(21, "ﾊﾅｺ", "ｻﾄｳ", "", ""),
        person(22, "Ｇｒｅｔａ", "Ｎｏｒｄ", "", ""),
        // Decomposed, as some systems send it.
        person(23, "\u{1106}\u{1175}\u{11ab}\u{1109}\u{116e}", "\u{110b}\u{1175}", "", ""),
        person(24, "Rene\u{301}e", "Dupre\u{301}", "", ""),
    ])
    .await;
    bed.expect(&["ハナコ", "サトウ", "サトウハナコ", "ｻﾄｳ ﾊﾅｺ", "ﾊﾅ"], &[21]).await;
    bed.expect(&["greta", "GRETA nord", "Ｇｒｅｔａ", "ｎｏｒ"], &[22]).await;
    bed.expect(&["민수", "이민수", "\u{110b}\u{1175}\u{1106}\u{1175}\u{11ab}\u{1109}\u{116e}"], &[23]).await;
    bed.expect(&["renée", "Rene\u{301}e", "dupre", "DUPRÉ"], &[24]).await;
}

pub(super) async fn puts_the_best_first(bed: &Bed) {
    bed.put(&[
        person(1, "Petra", "Garnat", "pg", "pg@example.com"),
        person(2, "Peter", "Stone", "stone", "garnet@example.com"),
        person(3, "Olga", "Garnet", "og", "og@example.com"),
        person(4, "Garnet", "Hill", "gh", "gh@example.com"),
        person(5, "Someone", "Else", "se", "se@example.com"),
    ])
    .await;
    assert_eq!(bed.find("garnet").await, [4, 3, 2, 1], "as typed before a slip; the name before the address");
    assert_eq!(bed.find("garne").await[3], 1);
    assert_eq!(bed.search.search("garnet", 2).await.unwrap().len(), 2);
}

pub(super) async fn replaces_on_update(bed: &Bed) {
    let mut docs = some();
    bed.put(&docs).await;
    docs[0].rev = 2;
    docs[0].last_name = Some("Bergstrom".into());
    docs[0].display_name = Some("Jonas Bergstrom".into());
    docs[0].email = None;
    bed.put(&docs[..1]).await;
    assert_eq!(bed.find("bergst").await, [1]);
    assert_eq!(bed.find("lindqvist").await, [] as [u128; 0]);
    assert_eq!(bed.find("jonas").await, [1], "once");
    bed.put(&docs[..1]).await;
    assert_eq!(bed.find("jonas").await, [1], "written again, still once");
}

pub(super) async fn deletes(bed: &Bed) {
    let docs = some();
    bed.put(&docs).await;
    let gone = |id: u128| (Uuid::from_u128(id), 2);
    bed.search.apply(vec![], vec![gone(1), gone(99)]).await.unwrap();
    assert_eq!(bed.find("jonas").await, [] as [u128; 0]);
    assert_eq!(bed.find("oliveira").await, [2]);
    bed.search.remove_user(Uuid::from_u128(2), 2).await.unwrap();
    assert_eq!(bed.find("oliveira").await, [] as [u128; 0]);
    let deleted = Doc { rev: 2, status: "deleted".into(), ..docs[2].clone() };
    bed.search.apply(vec![deleted], vec![]).await.unwrap();
    assert_eq!(bed.find("zoe").await, [] as [u128; 0], "a deleted person's document is a deletion");
    bed.search.apply(vec![Doc { rev: 3, ..docs[0].clone() }], vec![gone(4)]).await.unwrap();
    assert_eq!(bed.find("jonas").await, [1], "back with a higher rev (a relinked person)");
    assert_eq!(bed.find("łukasz").await, [] as [u128; 0]);
    bed.search.apply(vec![], vec![]).await.unwrap();
}

pub(super) async fn takes_what_is_typed_as_plain_text(bed: &Bed) {
    bed.put(&some()).await;
    bed.put(&[person(7, "D'Arcy", "O\"Neil", "und_er-score", "a%b_c*d@strange.example")]).await;
    bed.expect(&["\"jonas\"", "jonas\"", "\"jonas lind", "jonas*", "-jonas", "--jonas", "(jonas)", "jonas\0"], &[1])
        .await;
    bed.expect(&["'jonas'", "jonas\\", "jon%", "“jonas”", "–jonas", "jonas -", "jonas,"], &[1]).await;
    bed.expect(
        &["{document}: jonas", "jonas AND lind", "jonas OR maria", "NEAR(jonas lindqvist)", "jonas NOT maria"],
        &[],
    )
    .await;
    bed.expect(&["x\"y@z", "x' or '1'='1@z", "x\" OR \"jonas@z", "x\"\"\"@z\"", "x\\@z", "x%_[*?@z", "x\0y@z"], &[])
        .await;
    bed.expect(&["document:jonas", "j_nas", "jon?s", "%' or 1=1 --", "'; drop table clerk_sync.search_users; --"], &[])
        .await;
    bed.expect(&["%", "_", "*", "\\", "\"", "\"\"", "-", "\0", "AND", "OR", "NEAR", "😀", "'", "%%%%%", "_____"], &[])
        .await;
    bed.expect(&["d'arcy", "und_er", "a%b_c", "o\"neil", "a%b_c*d@strange.example"], &[7]).await;
    if matches!(bed.search, Search::Database(_)) {
        // In Meilisearch an address is the words of it, and a ^ is a word.
        bed.expect(&["a?b?c*d@strange.example"], &[]).await;
        bed.expect(&["^jonas"], &[1]).await;
    }
    for long in [
        "jonas ".repeat(2_000),
        "j".repeat(10_000),
        "\"".repeat(10_000),
        "a b c d e f g h i j k l ".repeat(500),
        "é".repeat(10_000),
    ] {
        assert!(bed.find(&long).await.len() <= 1);
    }
    assert_eq!(bed.find("jonas").await, [1], "all is still there");
}

pub(super) async fn honours_the_limit(bed: &Bed) {
    let docs: Vec<Doc> = (1..=130).map(|id| person(id, "Same", "Name", "", "")).collect();
    bed.put(&docs).await;
    for (limit, expected) in [(0, 1), (1, 1), (7, 7), (100, 100), (101, 100), (usize::MAX, 100)] {
        let found = bed.search.search("same", limit).await.unwrap();
        assert_eq!(found.len(), expected);
        let mut once = found.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), expected, "nobody twice");
    }
}

pub(super) async fn holds_five_thousand(bed: &Bed) {
    const SYLLABLES: [&str; 16] =
        ["an", "be", "ca", "do", "el", "fi", "gu", "ha", "jo", "ka", "le", "mi", "no", "ra", "si", "to"];
    let name = |mut n: usize, parts: usize| {
        (0..parts)
            .map(|_| {
                let part = SYLLABLES[n % 16];
                n /= 16;
                part
            })
            .collect::<String>()
    };
    let docs: Vec<Doc> = (0..5_000)
        .map(|n| {
            let (first, last) = (name(n * 7, 2), name(n * 31 + 5, 4));
            person(n as u128 + 1, &first, &last, &format!("u{n}"), &format!("{first}.{last}@gmail.example"))
        })
        .collect();
    for batch in docs.chunks(500) {
        bed.put(batch).await;
    }
    let wanted = &docs[4_321];
    let last = wanted.last_name.clone().unwrap();
    let swapped = format!("{}{}{}{}", &last[..3], &last[4..5], &last[3..4], &last[5..]);
    let begun = Instant::now();
    let queries = [last.as_str(), &last[..5], &swapped, wanted.email.as_deref().unwrap(), "u4321"];
    for q in queries {
        assert!(bed.find(q).await.contains(&4_322), "{q}");
    }
    for q in ["a", "an", "gmail", "gmial", "gmail ca", "zzzzzz", "an be ca do"] {
        bed.find(q).await;
    }
    // Twelve searches; each a few milliseconds where an index is used. Generous, for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

pub(super) async fn prepares_twice_and_answers(bed: &Bed) {
    bed.put(&some()).await;
    bed.search.prepare().await.unwrap();
    bed.search.ping().await.unwrap();
    assert_eq!(bed.find("jonas").await, [1]);
}
