//! Mails as .eml files in a folder. A file is whole or not there: it is written under another name, flushed and renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{MailError, letter::plain};

#[derive(Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn new(folder: &str) -> Result<Self, MailError> {
        if folder.trim().is_empty() {
            let problem = "names no folder (set it, or SMTP_URL)";
            return Err(MailError::Config { key: "smtp.folder", problem });
        }
        Ok(Self { folder: folder.into() })
    }

    /// Puts a mail on the disk. The same id is the same file: one that is there is replaced.
    pub(super) async fn put(&self, id: &str, letter: Vec<u8>) -> Result<(), MailError> {
        let (folder, name) = (self.folder.clone(), plain(id));
        let written = tokio::task::spawn_blocking(move || write(&folder, &name, &letter)).await;
        let error = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.kind().to_string(),
            Err(_) => "the write was cut short".to_owned(),
        };
        Err(MailError::Held(format!("smtp.folder: a mail cannot be written there: {error}")))
    }
}

fn write(folder: &Path, name: &str, letter: &[u8]) -> io::Result<()> {
    // For the operator's eyes: a mail names people.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // What a crash leaves behind is overwritten when the mail comes again.
    let (aside, place) = (folder.join(format!(".{name}.tmp")), folder.join(format!("{name}.eml")));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    // Also where it was there already.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(letter)?;
    file.sync_all()?;
    fs::rename(&aside, &place)?;
    // The name, too, has to outlive a power cut.
    File::open(folder)?.sync_all()
}
