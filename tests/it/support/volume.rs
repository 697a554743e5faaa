//! A small volume of a test's own, which can be filled.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted volume; unmounted when dropped.
pub(crate) struct Volume(PathBuf);

impl Volume {
    /// Mounts one of so many MiB on an empty folder; `None` where that is not permitted.
    pub(crate) fn mount(mib: u32, folder: &Path) -> Option<Self> {
        let size = format!("size={mib}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        if !mount.is_ok_and(|output| output.status.success()) {
            eprintln!("left out: a volume cannot be mounted here");
            return None;
        }
        Some(Self(folder.to_owned()))
    }

    /// Takes all space but so many KiB; gives it back when the value is dropped.
    pub(crate) fn fill(&self, leave: u64) -> Filler {
        let output = Command::new("df").args(["--output=avail", "-k"]).arg(&self.0).output().unwrap();
        let free = String::from_utf8(output.stdout).unwrap().lines().nth(1).unwrap().trim().parse::<u64>().unwrap();
        let path = self.0.join("filler");
        // Others take space at the same time, so that it may be full before.
        let _ = std::fs::write(&path, vec![1; usize::try_from(free.saturating_sub(leave) * 1024).unwrap()]);
        Filler(path)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Space that is taken.
pub(crate) struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
