//! A dry-run worker by itself, as the tests start it. The server starts its own binary instead.

fn main() -> std::io::Result<()> {
    dry_run::run_worker(std::io::stdin().lock(), std::io::stdout().lock())
}
