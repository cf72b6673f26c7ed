use anyhow::Context;

/// How much is done to the server. The defaults are for every commit; a long run sets more.
#[derive(Clone, Debug)]
pub struct Load {
    /// Clients that write at once: `CRASH_CLIENTS`.
    pub clients: u32,
    /// Tokens that each writes at least: `CRASH_TOKENS`.
    pub tokens: u32,
    /// Times the server is killed: `CRASH_KILLS`.
    pub kills: u32,
    /// What the clients' choices are drawn from: `CRASH_SEED`.
    pub seed: u64,
}

impl Load {
    /// What the environment asks for.
    ///
    /// # Errors
    /// If a variable is set to something else than a number.
    pub fn from_environment() -> anyhow::Result<Self> {
        Ok(Self {
            clients: number("CRASH_CLIENTS", 8)?,
            tokens: number("CRASH_TOKENS", 60)?,
            kills: number("CRASH_KILLS", 4)?,
            seed: number("CRASH_SEED", 1)?,
        })
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
