use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::command::target_dir;

/// The ports that parts get. Systems give ports above to connections that ask for none: whoever tried
/// to reach a part that is down for a moment could be given its port, and the part not come back.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Where one process of a part lives: a folder, and ports of the loopback address.
pub struct Place {
    /// The part's name, with the process's number if there are several.
    pub name: String,
    /// Everything it writes.
    pub folder: PathBuf,
}

impl Place {
    /// The place of a part that is one process.
    pub fn of(part: &str) -> Self {
        Self {
            name: part.to_owned(),
            folder: parts_folder().join(part),
        }
    }

    /// The place of one of a part's processes, which are counted from one.
    pub fn of_process(part: &str, number: usize) -> Self {
        Self {
            name: format!("{part} {number}"),
            folder: parts_folder().join(part).join(number.to_string()),
        }
    }

    pub fn create(&self) -> anyhow::Result<()> {
        let folder = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("{folder} can't be created"))
    }

    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} can't be removed", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// The port for this purpose: one that was free when it was first asked for, and the same from
    /// then on, so that whoever knows the part finds it again after a restart.
    pub fn port(&self, purpose: &str) -> anyhow::Result<u16> {
        let file = self.folder.join(format!("{purpose}.port"));
        if let Ok(kept) = fs::read_to_string(&file) {
            return kept
                .trim()
                .parse()
                .with_context(|| format!("{} holds no port", file.display()));
        }
        let taken = kept_ports(&parts_folder());
        let is_free =
            |port: &u16| !taken.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
        // Parts in another folder than this one have their own, so not everybody begins with the first.
        let drawn = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .context("there is no free port")?
            .port();
        let start = PORTS.start + drawn % (PORTS.end - PORTS.start);
        let port = (start..PORTS.end)
            .chain(PORTS.start..start)
            .find(is_free)
            .with_context(|| format!("no port of {PORTS:?} is free on 127.0.0.1"))?;
        fs::write(&file, port.to_string())?;
        Ok(port)
    }

    /// Writes one of the part's files and gives its path.
    pub fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, content)
            .with_context(|| format!("{} can't be written", file.display()))?;
        Ok(file)
    }
}

fn parts_folder() -> PathBuf {
    target_dir().join("parts")
}

/// The ports that places in this folder have been given, whether they use them now or not.
fn kept_ports(folder: &Path) -> Vec<u16> {
    // One place is a folder of the parts', or a folder of such a one.
    const PLACES_DEPTH: usize = 2;
    let mut folders = vec![(folder.to_owned(), 0)];
    let mut ports = Vec::new();
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && depth < PLACES_DEPTH {
                folders.push((path, depth + 1));
            } else if path
                .extension()
                .is_some_and(|extension| extension == "port")
            {
                let kept = fs::read_to_string(path).unwrap_or_default();
                ports.extend(kept.trim().parse::<u16>());
            }
        }
    }
    ports
}
