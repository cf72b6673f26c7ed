use async_trait::async_trait;

/// What lies between servers that each have a log of their own, and copies of each other's.
#[async_trait]
pub trait Way: Sync {
    /// Lets nothing pass any more.
    async fn cut(&self);

    /// Ends a cut.
    async fn heal(&self);
}
