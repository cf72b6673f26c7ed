use anyhow::Context;

/// The memory of another process as Linux counts it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// All that is in memory: `VmRSS`.
    pub resident: u64,
    /// What it allocated itself, without files and code: `RssAnon`.
    pub anonymous: u64,
}

impl ProcessMemory {
    /// What the process has now.
    ///
    /// # Errors
    /// If there is no such process, or no Linux below.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Self::parse(&status).with_context(|| format!("{path} does not say what is in memory"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kibibytes * 1024)
        };
        Some(Self {
            resident: bytes("VmRSS:")?,
            anonymous: bytes("RssAnon:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let status = "Name:\tcollabedit\nVmRSS:\t   20480 kB\nRssAnon:\t    8192 kB\nThreads:\t4\n";
        let expected = ProcessMemory {
            resident: 20_480 * 1024,
            anonymous: 8_192 * 1024,
        };
        assert_eq!(ProcessMemory::parse(status), Some(expected));
        assert_eq!(ProcessMemory::parse("Name:\tkthreadd\n"), None);
    }
}
