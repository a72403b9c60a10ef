use clap::Args;
/// v
#[derive(Args)]
pub struct VerifyArgs {}
pub fn run(_: &VerifyArgs) -> anyhow::Result<()> {
    Ok(())
}
