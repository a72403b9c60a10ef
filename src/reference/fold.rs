//! The padding rule of the blocked reference.

use crate::conv::PaddingMode;

/// The element of an axis of `size` elements that supplies position `at`; none where that is a zero of the padding.
pub(super) fn fold(at: i64, size: u32, mode: PaddingMode) -> Option<usize> {
    let last = i64::from(size) - 1;
    let inside = match mode {
        _ if (0..=last).contains(&at) => at,
        PaddingMode::Zeros => return None,
        PaddingMode::Reflect if at < 0 => -at,
        PaddingMode::Reflect => 2 * last - at,
        PaddingMode::Replicate => at.clamp(0, last),
        PaddingMode::Circular => at.rem_euclid(last + 1),
    };
    usize::try_from(inside).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::single::source;

    #[test]
    fn both_padding_rules_agree() {
        for mode in PaddingMode::ALL {
            for width in 1..=5 {
                let most = match mode {
                    PaddingMode::Reflect => width - 1,
                    PaddingMode::Circular => width,
                    _ => 12,
                };
                for (before, at) in (0..=most).flat_map(|before| (0..before + width + most).map(move |at| (before, at)))
                {
                    let expected = fold(i64::from(at) - i64::from(before), width, mode);
                    let found = source(u64::from(at), before, u64::from(width), mode);
                    assert_eq!(found, expected.map(|place| place as u64), "{mode} {width} {before} {at}");
                }
            }
        }
    }
}
