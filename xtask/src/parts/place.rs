use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::Context;

use crate::command::target_dir;

/// Where a part lives: a folder, and ports of the loopback address.
pub struct Place {
    /// The part's name.
    pub name: &'static str,
    /// Everything it writes.
    pub folder: PathBuf,
}

impl Place {
    pub fn of(name: &'static str) -> Self {
        let folder = target_dir().join("parts").join(name);
        Self { name, folder }
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
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .context("there is no free port")?
            .port();
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
