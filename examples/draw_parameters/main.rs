//! Draws the pictures of `docs/parameters.md` into `docs/parameters/`.
//!
//! ```text
//! cargo run --example draw_parameters
//! ```
//!
//! Which cell feeds which is asked of the crate itself ([`Problem`](wgpu_conv::Problem) for the sizes, the CPU reference
//! for the cells), so a picture cannot show what the crate does not do. A test draws them again and compares.

use std::error::Error;
use std::path::Path;

mod pictures;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/parameters");
    std::fs::create_dir_all(&folder)?;
    for (name, svg) in pictures::all()? {
        std::fs::write(folder.join(name), svg)?;
        println!("docs/parameters/{name}");
    }
    Ok(())
}
