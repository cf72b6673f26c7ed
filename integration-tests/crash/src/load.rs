use anyhow::Context;

/// How much is done to the server. The defaults are for every commit; a long run sets more.
#[derive(Clone, Debug)]
pub struct Load {
    /// Clients that write at once: `CRASH_CLIENTS`.
    pub clients: u32,
    /// Operations that are acknowledged at least, in all: `CRASH_OPERATIONS`. Each life of the server
    /// acknowledges its share of them before it is killed.
    pub operations: u64,
    /// Times the server is killed at least: `CRASH_KILLS`.
    pub kills: u32,
    /// What the choices of clients, disks and moments are drawn from: `CRASH_SEED`.
    pub seed: u64,
}

impl Load {
    /// What the environment asks for.
    ///
    /// # Errors
    /// If a variable is set to something else than a number.
    pub fn from_environment() -> anyhow::Result<Self> {
        Self::with_kills(5)
    }

    /// What the environment asks for, and so many kills if it does not say how many.
    ///
    /// # Errors
    /// See [`Load::from_environment`].
    pub fn with_kills(kills: u32) -> anyhow::Result<Self> {
        Ok(Self {
            clients: number("CRASH_CLIENTS", 8)?,
            operations: number("CRASH_OPERATIONS", 4_000)?,
            kills: number("CRASH_KILLS", kills)?,
            seed: number("CRASH_SEED", 1)?,
        })
    }

    /// Operations that one life of the server acknowledges at least.
    pub(crate) fn operations_per_life(&self) -> u64 {
        self.operations.div_ceil(u64::from(self.kills.max(1)))
    }

    /// Kills that have to come while an append is in flight, or the run proves little: four in five.
    pub fn kills_in_flight_min(&self) -> u32 {
        self.kills - self.kills.div_ceil(5)
    }
}

fn number<T>(name: &str, default: T) -> anyhow::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    #[allow(clippy::disallowed_methods)] // A test's only configuration.
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number")),
        Err(_) => Ok(default),
    }
}
