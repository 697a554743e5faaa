//! One suite over both ways to send a mail.

use clerk_sync::{
    backends::mailer::{Mail, MailError, Mailer},
    config::Config,
};
use tempfile::TempDir;

use crate::support::{
    smtp::{Double, Encryption, Fault, Read},
    world::config,
};

/// A way to send, and what it leads to.
enum Bed {
    Files(TempDir),
    Smtp(Double),
}

impl Bed {
    async fn all() -> [Self; 2] {
        [Self::Files(tempfile::tempdir().unwrap()), Self::Smtp(Double::start().await)]
    }

    fn config(&self) -> Config {
        let mut keys = vec![
            ("alerts.mail_to", "ops@example.com, The Boss <boss@example.com>".to_owned()),
            ("alerts.mail_from", "Sync <clerk-sync@example.com>".to_owned()),
        ];
        match self {
            Self::Files(folder) => keys.push(("smtp.folder", folder.path().join("a/mail").display().to_string())),
            Self::Smtp(double) => keys.push(("smtp.url", double.url())),
        }
        config(&keys)
    }

    fn mailer(&self) -> Mailer {
        let config = self.config();
        Mailer::new(&config.alerts, &config.smtp).unwrap()
    }

    /// What arrived, as bytes.
    fn arrived(&self) -> Vec<String> {
        match self {
            Self::Smtp(double) => double.letters().into_iter().map(|letter| letter.raw).collect(),
            Self::Files(folder) => {
                let Ok(files) = std::fs::read_dir(folder.path().join("a/mail")) else { return Vec::new() };
                let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
                paths.sort();
                paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Smtp(_) => "smtp",
        }
    }
}

fn mail(id: &str, subject: &str, text: &str) -> Mail {
    let at = chrono::DateTime::from_timestamp(1_760_000_000, 0).unwrap();
    Mail { id: id.into(), subject: subject.into(), text: text.into(), at }
}

#[tokio::test]
async fn what_is_sent_is_what_arrives() {
    for bed in Bed::all().await {
        let mailer = bed.mailer();
        let texts = [
            ("[clerk-sync] warning: x", "one\ntwo\n".to_owned()),
            ("", String::new()),
            (
                "Grüße aus Łódź 🚲 und noch viel mehr, damit die Zeile lang genug wird, um gefaltet zu werden",
                "größer als = und &\n".into(),
            ),
            ("dots", ".\n..\n.x\n\n.\nend\n".into()),
            ("long", format!("{}\n", "x".repeat(3_000))),
            ("spaces", "trailing  \n\ttab\n  leading\n".into()),
        ];
        for (index, (subject, text)) in texts.iter().enumerate() {
            mailer.send(&mail(&format!("{index}.x"), subject, text)).await.unwrap();
            let arrived = bed.arrived();
            assert_eq!(arrived.len(), index + 1, "{}", bed.name());
            let read = Read::of(&arrived[index]);
            assert_eq!(read.header("subject"), *subject, "{}", bed.name());
            assert_eq!(read.body.trim_end(), text.trim_end().replace('\t', " "), "{}: {subject}", bed.name());
            assert_eq!(read.header("message-id"), format!("<{index}.x@example.com>"));
            assert_eq!(read.header("date"), "Thu, 09 Oct 2025 08:53:20 +0000");
            assert_eq!(read.header("from"), "Sync <clerk-sync@example.com>");
            assert_eq!(read.header("to"), "ops@example.com, \"The Boss\" <boss@example.com>");
            assert!(arrived[index].split("\r\n").all(|line| line.len() <= 998));
            assert!(arrived[index].is_ascii() || matches!(bed, Bed::Files(_)), "what travels is ASCII");
        }
        if let Bed::Smtp(double) = &bed {
            let letter = &double.letters()[0];
            assert_eq!((letter.from.as_str(), letter.to.len()), ("clerk-sync@example.com", 2));
        }
    }
}

/// Lines that are too long are broken between words. A file holds what a mail says as it is: who is named can be found.
#[tokio::test]
async fn long_lines_are_broken_and_ids_are_not() {
    for bed in Bed::all().await {
        let names: Vec<String> = (0..200).map(|index| format!("user_2abcDEFghiJKLmnoPQRstuVWX{index:03}")).collect();
        // Wherever an encoding would break its lines.
        let words = names.iter().enumerate().map(|(index, name)| format!("{} 部長 = {name}, ", "x".repeat(index % 80)));
        let text = words.collect::<String>();
        bed.mailer().send(&mail("1", "s", &text)).await.unwrap();
        let arrived = bed.arrived();
        let read = Read::of(&arrived[0]);
        assert_eq!(read.body.replace('\n', "").trim_end(), text.trim_end(), "{}", bed.name());
        assert!(names.iter().all(|name| read.body.contains(name)), "{}", bed.name());
        let verbatim = names.iter().filter(|name| arrived[0].contains(*name)).count();
        assert!(verbatim == names.len() || matches!(bed, Bed::Smtp(_)), "{verbatim} in the file");
    }
}

#[tokio::test]
async fn the_same_mail_again_can_be_told_from_another() {
    for bed in Bed::all().await {
        let mailer = bed.mailer();
        for _ in 0..3 {
            mailer.send(&mail("7.alerts.mail.e", "s", "t")).await.unwrap();
        }
        mailer.send(&mail("8.alerts.mail.e", "s", "t")).await.unwrap();
        let mut arrived = bed.arrived();
        // A server gets it again; a file is there once.
        assert_eq!(arrived.len(), if matches!(bed, Bed::Smtp(_)) { 4 } else { 2 }, "{}", bed.name());
        arrived.dedup();
        let ids: Vec<String> = arrived.iter().map(|raw| Read::of(raw).header("message-id").to_owned()).collect();
        assert_eq!(ids, ["<7.alerts.mail.e@example.com>", "<8.alerts.mail.e@example.com>"], "{}", bed.name());
    }
}

#[tokio::test]
async fn what_a_mail_says_makes_no_header_no_command_and_no_path() {
    for bed in Bed::all().await {
        let evil = "x\r\nBcc: evil@evil.example\r\n\r\n.\r\nMAIL FROM:<evil@evil.example>\r\n../../y";
        bed.mailer().send(&mail(evil, evil, evil)).await.unwrap();
        let arrived = bed.arrived();
        assert_eq!(arrived.len(), 1, "{}", bed.name());
        let read = Read::of(&arrived[0]);
        assert!(!read.headers.iter().any(|(name, _)| name == "bcc"), "{:?}", read.headers);
        assert!(read.header("to").ends_with("<boss@example.com>"));
        match &bed {
            Bed::Smtp(double) => assert_eq!((double.connections(), double.letters()[0].to.len()), (1, 2)),
            Bed::Files(folder) => {
                let beside = std::fs::read_dir(folder.path()).unwrap().count();
                assert_eq!(beside, 1, "nothing outside the folder");
            }
        }
    }
}

#[tokio::test]
async fn a_way_that_is_blocked_holds_the_mail_and_works_again() {
    for bed in Bed::all().await {
        let mailer = bed.mailer();
        match &bed {
            Bed::Smtp(double) => double.fail([Fault::Greeting(421)]),
            // A file stands where the folder should be.
            Bed::Files(folder) => std::fs::write(folder.path().join("a"), "").unwrap(),
        }
        let error = mailer.send(&mail("1", "s", "t")).await.unwrap_err();
        assert!(matches!(error, MailError::Held(_)), "{error}");
        assert!(bed.arrived().is_empty());
        if let Bed::Files(folder) = &bed {
            std::fs::remove_file(folder.path().join("a")).unwrap();
        }
        mailer.send(&mail("1", "s", "t")).await.unwrap();
        assert_eq!(bed.arrived().len(), 1, "{}", bed.name());
    }
}

#[tokio::test]
async fn files_have_names_that_name_nobody_and_are_for_the_operator() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = Bed::Files(tempfile::tempdir().unwrap());
    let mailer = bed.mailer();
    let Bed::Files(folder) = &bed else { unreachable!() };
    let folder = folder.path().join("a/mail");
    // What a crash left behind.
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".5.alerts.mail.e.tmp"), "half a ma").unwrap();
    mailer.send(&mail("5.alerts.mail.e", "user_ada", "user_ada")).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.iter().map(|file| file.file_name()).collect::<Vec<_>>(), ["5.alerts.mail.e.eml"]);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn each_reply_is_judged_by_what_it_is_a_reply_to() {
    use Fault::*;
    let bed = Bed::Smtp(Double::start().await);
    let Bed::Smtp(double) = &bed else { unreachable!() };
    let mailer = bed.mailer();
    let held = [
        Close,
        Greeting(421),
        Greeting(554),
        Hello(421),
        Hello(550),
        Sender(421),
        Sender(452),
        Sender(530),
        Sender(550),
        Sender(553),
        Recipient(421),
        Recipient(450),
        Recipient(451),
        Recipient(503),
        Recipient(530),
        Data(421),
        Data(451),
        Data(503),
        Content(421),
        Content(451),
        Content(452),
        BreakInContent,
        BreakAfterContent { taken: false },
    ];
    let refused = [Recipient(550), Recipient(553), Recipient(501), Data(554), Content(552), Content(554), Content(550)];
    for (fault, final_) in held.map(|fault| (fault, false)).into_iter().chain(refused.map(|fault| (fault, true))) {
        double.fail([fault]);
        let error = mailer.send(&mail("1", "s", "t")).await.unwrap_err();
        assert_eq!(matches!(error, MailError::Refused(_)), final_, "{fault:?}: {error}");
        let said = error.to_string();
        assert!(said.starts_with("the mail server ") && !said.contains('@') && !said.contains("double"), "{said}");
    }
    assert!(double.letters().is_empty());
}

#[tokio::test]
async fn a_password_is_told_to_nobody_who_offers_no_encryption() {
    let double = Double::start().await;
    let at = |rest: &str| format!("smtp://us%40er:s3cretpass@127.0.0.1:{}{rest}", double.port());
    let mailer = |url: String| {
        let config = config(&[("alerts.mail_to", "ops@example.com".into()), ("smtp.url", url)]);
        Mailer::new(&config.alerts, &config.smtp).unwrap()
    };
    for url in [at(""), at("?tls=required")] {
        let error = mailer(url).send(&mail("1", "s", "t")).await.unwrap_err();
        assert!(matches!(&error, MailError::Held(text) if text.contains("offers no TLS")), "{error}");
    }
    assert!(double.logins().is_empty() && double.letters().is_empty());
    // Where the operator says so, and a login that fails is the operator's to mend.
    let mailer = mailer(at("?tls=none"));
    double.fail([Fault::Login(535), Fault::Login(454)]);
    for _ in 0..2 {
        let error = mailer.send(&mail("1", "s", "t")).await.unwrap_err();
        assert!(matches!(&error, MailError::Held(text) if text.contains("smtp.url")), "{error}");
        assert!(!error.to_string().contains("s3cret"));
    }
    mailer.send(&mail("1", "s", "t")).await.unwrap();
    assert_eq!(double.logins()[0], "PLAIN AHVzQGVyAHMzY3JldHBhc3M=");
}

/// A server whose certificate nobody vouches for gets nothing.
#[tokio::test]
async fn a_stranger_is_told_nothing() {
    for (encryption, scheme) in [(Encryption::StartTls, "smtp"), (Encryption::Always, "smtps")] {
        let double = Double::start_with(encryption).await;
        let url = format!("{scheme}://user:s3cretpass@localhost:{}", double.port());
        let config = config(&[("alerts.mail_to", "ops@example.com".into()), ("smtp.url", url)]);
        let mailer = Mailer::new(&config.alerts, &config.smtp).unwrap();
        let error = mailer.send(&mail("1", "s", "t")).await.unwrap_err();
        assert!(matches!(error, MailError::Held(_)), "{error}");
        assert!(double.logins().is_empty() && double.letters().is_empty());
    }
}

#[test]
fn settings_that_make_no_sense_are_named_and_not_repeated() {
    for (key, value) in [
        ("alerts.mail_to", "s3cret"),
        ("alerts.mail_to", "a@example.com, s3cret@"),
        ("alerts.mail_to", "a@example.com\r\nBcc: s3cret@example.com"),
        ("alerts.mail_to", "s3crét@example.com"),
        ("alerts.mail_from", "s3cret"),
        ("alerts.mail_from", ""),
        ("smtp.url", "http://s3cret"),
        ("smtp.url", "s3cret"),
        ("smtp.folder", " "),
    ] {
        let mut keys = vec![("alerts.mail_to", "ops@example.com".to_owned())];
        keys.retain(|(known, _)| *known != key);
        keys.push((key, value.to_owned()));
        let config = config(&keys);
        let error = Mailer::new(&config.alerts, &config.smtp).unwrap_err().to_string();
        assert!(error.starts_with(&format!("configuration: {key}: ")), "{value:?}: {error}");
        assert!(!error.contains("s3cr"), "{error}");
    }
}
