//! The pictures of `docs/parameters.md`, as (file name, SVG text).

use std::error::Error;

mod channels;
mod numbers;
mod panel;
mod planes;
mod probe;
mod spread;
mod svg;
mod windows;

/// Errors of any kind; what goes wrong here is printed or fails a test.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Draws every picture.
pub fn all() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("in_channels.svg", channels::in_channels()?),
        ("out_channels.svg", channels::out_channels()?),
        ("kernel_size.svg", numbers::kernel_size()?),
        ("stride.svg", windows::stride()?),
        ("padding.svg", windows::padding()?),
        ("dilation.svg", windows::dilation()?),
        ("groups.svg", channels::groups()?),
        ("bias.svg", numbers::bias()?),
        ("padding_mode.svg", windows::padding_mode()?),
        ("transposed.svg", spread::transposed()?),
        ("epilogue.svg", numbers::epilogue()?),
    ])
}
