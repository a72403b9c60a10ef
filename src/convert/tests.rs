//! What cannot be seen from outside: the shaders.

use super::*;

#[path = "../../tests/common/wgsl.rs"]
mod wgsl;

#[test]
fn shaders_are_taken_by_every_back_end_and_need_no_capability() {
    for (from, to) in DType::ALL.iter().flat_map(|from| DType::ALL.map(|to| (*from, to))) {
        for access in [Access::Separate, Access::SharedBuffer, Access::ThroughOutput] {
            let name = format!("{from} to {to}, {access:?}");
            let source = source_text(from, to, access).unwrap();
            let module = wgsl::translate(&source).unwrap_or_else(|message| panic!("{name}: {message}"));
            let mut plain =
                naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
            plain.validate(&module).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
}
