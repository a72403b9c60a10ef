use clap::Args;
/// v
#[derive(Args)]
pub struct BenchArgs {}
pub fn run(_: &BenchArgs) -> anyhow::Result<()> {
    Ok(())
}
