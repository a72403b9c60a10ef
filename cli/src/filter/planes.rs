//! [`Planes`]: a picture as the input tensor of a convolution, and the results as a picture again.
//!
//! Alpha stays as it is. Where there are transparent pixels, their colours must not bleed into their neighbours, so a
//! neighbour counts only as far as it is opaque; for the rest the pixel itself takes its place. With weights w,
//! colours c and alpha a, the result at a pixel p is
//!
//! ```text
//! sum of w[k] · (a[p+k] · c[p+k] + (1 − a[p+k]) · c[p])  =  filter(a · c)[p] + c[p] · filter(1 − a)[p]
//! ```
//!
//! which is the plain filter for an opaque picture, leaves a flat colour flat under a blur, and finds no edge where only
//! alpha changes. It needs two kinds of planes: colours times alpha, and the transparency 1 − a.

use super::light;
use super::picture::Picture;

/// Numbers of shape (1, C, H, W): the colour channels, then the transparency if any pixel is transparent.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    pub height: u32,
    pub width: u32,
    /// The picture's colours as they are filtered, without regard to alpha.
    straight: Vec<f32>,
    /// The input tensor.
    data: Option<Vec<f32>>,
    colours: usize,
    linear: bool,
}

impl Planes {
    /// The planes of `picture`; its colours as amounts of light if `linear`, else as stored.
    pub fn of(picture: &Picture, linear: bool) -> Self {
        let (channels, colours) = (picture.channels(), picture.colour_channels());
        let plane = |channel: usize| picture.samples.iter().skip(channel).step_by(channels).copied();
        let mut straight = Vec::with_capacity(picture.samples.len());
        for channel in 0..colours {
            if linear {
                straight.extend(plane(channel).map(light::to_linear));
            } else {
                straight.extend(plane(channel));
            }
        }
        let transparent = picture.alpha && plane(colours).any(|alpha| alpha < 1.0);
        let data = transparent.then(|| {
            let alpha: Vec<f32> = plane(colours).collect();
            let weighted = straight.iter().zip(alpha.iter().cycle()).map(|(colour, alpha)| colour * alpha);
            weighted.chain(alpha.iter().map(|alpha| 1.0 - alpha)).collect()
        });
        Self { height: picture.height, width: picture.width, straight, data, colours, linear }
    }

    /// The input tensor.
    pub fn data(&self) -> &[f32] {
        self.data.as_deref().unwrap_or(&self.straight)
    }

    /// C: colour channels, and one if there are transparent pixels.
    pub fn count(&self) -> usize {
        self.colours + usize::from(self.data.is_some())
    }

    /// Elements of one plane.
    pub fn plane_len(&self) -> usize {
        self.height as usize * self.width as usize
    }

    /// Whether the offset of a filter belongs to channel `channel`: to colours, not to the transparency.
    pub fn is_colour(&self, channel: usize) -> bool {
        channel < self.colours
    }

    /// Puts the results of a filter, of shape (1, C · responses, H, W), into `picture`'s colours. Two responses are the
    /// components of a gradient, whose magnitude is taken.
    pub fn write_results(&self, results: &[f32], responses: usize, picture: &mut Picture) {
        let length = self.plane_len();
        let channels = picture.channels();
        let plane = |channel: usize, response: usize| &results[(channel * responses + response) * length..][..length];
        for channel in 0..self.colours {
            let straight = &self.straight[channel * length..][..length];
            for (index, &own) in straight.iter().enumerate() {
                let response = |number: usize| {
                    let through_others = plane(channel, number)[index];
                    match self.data {
                        Some(_) => through_others + own * plane(self.colours, number)[index],
                        None => through_others,
                    }
                };
                let value = if responses == 2 { response(0).hypot(response(1)) } else { response(0) };
                let stored = if self.linear { light::from_linear(value) } else { value };
                picture.samples[index * channels + channel] = stored;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::{Colours, Depth};
    use super::*;

    fn picture(colours: Colours, alpha: bool, samples: Vec<f32>) -> Picture {
        Picture { width: 2, height: 1, colours, alpha, depth: Depth::Eight, samples, profile: None }
    }

    #[test]
    fn an_opaque_picture_is_its_colours() {
        let rgb = picture(Colours::Rgb, false, vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(Planes::of(&rgb, false).data(), [0.1, 0.4, 0.2, 0.5, 0.3, 0.6]);
        let rgba = picture(Colours::Rgb, true, vec![0.1, 0.2, 0.3, 1.0, 0.4, 0.5, 0.6, 1.0]);
        let planes = Planes::of(&rgba, false);
        assert_eq!((planes.data(), planes.count()), (Planes::of(&rgb, false).data(), 3));
    }

    #[test]
    fn transparent_neighbours_count_as_the_pixel_itself() {
        let mut grey = picture(Colours::Grey, true, vec![0.5, 1.0, 0.9, 0.25]);
        let planes = Planes::of(&grey, false);
        assert_eq!(planes.data(), [0.5, 0.225, 0.0, 0.75]);
        // The mean of two, in both pixels, as a filter would give it plane by plane.
        let mean = |pair: &[f32]| vec![(pair[0] + pair[1]) / 2.0; 2];
        let results = [mean(&planes.data()[..2]), mean(&planes.data()[2..])].concat();
        planes.write_results(&results, 1, &mut grey);
        let expected = [0.5 * (0.5 + 0.25 * 0.9 + 0.75 * 0.5), 1.0, 0.5 * (0.5 + 0.25 * 0.9 + 0.75 * 0.9), 0.25];
        assert!(grey.samples.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", grey.samples);
    }

    #[test]
    fn a_gradient_becomes_its_magnitude() {
        let mut grey = picture(Colours::Grey, false, vec![0.0, 0.0]);
        Planes::of(&grey, false).write_results(&[0.3, -0.6, -0.4, 0.8], 2, &mut grey);
        assert!((grey.samples[0] - 0.5).abs() < 1e-6 && (grey.samples[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn linear_light_goes_there_and_back() {
        let mut grey = picture(Colours::Grey, false, vec![0.5, 0.25]);
        let planes = Planes::of(&grey, true);
        assert!((planes.data()[0] - 0.214_041).abs() < 1e-5);
        let results = planes.data().to_vec();
        planes.write_results(&results, 1, &mut grey);
        assert!((grey.samples[0] - 0.5).abs() < 1e-6 && (grey.samples[1] - 0.25).abs() < 1e-6);
    }
}
