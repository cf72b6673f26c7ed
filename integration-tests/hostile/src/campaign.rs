use anyhow::Context;

/// How much is sent. The defaults are for every commit; a long run sets more.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Mutants that are to be answered: `HOSTILE_UPDATES`.
    pub updates: u64,
    /// Attackers that send at once: `HOSTILE_ATTACKERS`. One in four attacks the document in which
    /// honest people type.
    pub attackers: u64,
    /// What everybody's choices are drawn from: `HOSTILE_SEED`.
    pub seed: u64,
}

impl Campaign {
    /// What the environment asks for.
    ///
    /// # Errors
    /// If a variable is set to something else than a number.
    pub fn from_environment() -> anyhow::Result<Self> {
        Ok(Self {
            updates: number("HOSTILE_UPDATES", 400)?,
            attackers: number("HOSTILE_ATTACKERS", 8)?,
            seed: number("HOSTILE_SEED", 1)?,
        })
    }
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    #[allow(clippy::disallowed_methods)] // A test's only configuration.
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number")),
        Err(_) => Ok(default),
    }
}
