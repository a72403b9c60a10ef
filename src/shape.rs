//! [`Shape`]: the sizes of a tensor.

use std::fmt;
use std::ops::Deref;

use crate::error::{Error, Result};

/// Most spatial axes.
pub(crate) const MAX_AXES: usize = 3;
/// Most axes of a tensor: images, channels, and the spatial ones.
const MAX_RANK: usize = 2 + MAX_AXES;

/// The sizes of a tensor of up to five axes, outermost first. Derefs to a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    sizes: [u32; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// A shape with these sizes; those beyond five are left out, which callers have ruled out.
    pub(crate) fn new(sizes: impl IntoIterator<Item = u32>) -> Self {
        let mut shape = Self { sizes: [0; MAX_RANK], rank: 0 };
        for (place, size) in shape.sizes.iter_mut().zip(sizes) {
            *place = size;
            shape.rank += 1;
        }
        shape
    }

    /// (first, second, slices, rows, columns) of a tensor with one to three spatial axes; axes that it does not have are 1.
    pub fn five(&self) -> [u32; 5] {
        let mut five = [1; MAX_RANK];
        let (outer, spatial) = self.split_at(2.min(self.len()));
        five[..outer.len()].copy_from_slice(outer);
        five[MAX_RANK - spatial.len()..].copy_from_slice(spatial);
        five
    }

    /// Number of elements; sizes that a [`Problem`](crate::Problem) has do not overflow it.
    pub fn elements(&self) -> u64 {
        self.iter().map(|&size| u64::from(size)).product()
    }
}

impl Deref for Shape {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.sizes[..self.rank.into()]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

/// As [`Problem::new`](crate::Problem::new) takes shapes: the input of a next convolution is `problem.output_shape().try_into()?`.
impl<const N: usize> TryFrom<Shape> for [u32; N] {
    type Error = Error;

    fn try_from(shape: Shape) -> Result<Self> {
        shape[..].try_into().map_err(|_| Error::Shape {
            tensor: "tensor",
            actual: shape.to_string(),
            required: format!("one of {N} axes"),
        })
    }
}

/// As `(8, 64, 56, 56)`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shape_string(self))
    }
}

impl<const N: usize> PartialEq<[u32; N]> for Shape {
    fn eq(&self, other: &[u32; N]) -> bool {
        self[..] == other[..]
    }
}

/// As `(8, 64, 56, 56)`.
pub(crate) fn shape_string<T: fmt::Display>(shape: &[T]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("({})", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_axes_are_one() {
        assert_eq!(Shape::new([2, 3, 7]).five(), [2, 3, 1, 1, 7]);
        assert_eq!(Shape::new([2, 3, 5, 6, 7]).five(), [2, 3, 5, 6, 7]);
        assert_eq!(Shape::new([2, 3, 6, 7]), [2, 3, 6, 7]);
        assert_eq!(<[u32; 2]>::try_from(Shape::new([4, 5])).unwrap(), [4, 5]);
        let error = <[u32; 4]>::try_from(Shape::new([4, 5])).unwrap_err().to_string();
        assert_eq!(error, "tensor has shape (4, 5); required is one of 4 axes");
        assert_eq!((Shape::new([4, 5, 6]).elements(), Shape::new([4, 5]).to_string()), (120, "(4, 5)".into()));
    }
}
