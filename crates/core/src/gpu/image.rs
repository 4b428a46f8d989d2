//! Inputs as images, for the kernels of software adapters.
//!
//! A rasteriser on the CPU may load from storage buffers lane by lane, with a branch for each value: llvmpipe does, and
//! on processors without AVX-512 it also sends each value through the stack. Its loads from images have neither, and take
//! a third of the time, or a twentieth. So the kernels that live on loads read copies in images, which cost next to
//! nothing beside them.

use std::ops::Range;

use super::buffer::poll_once;
use super::context::GpuInner;
use super::stats::Counters;
use crate::error::Error;

/// Four values a texel, bit for bit.
pub(crate) const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;

/// Texels in a row; the shaders know it. Wide enough for 1 GiB, narrow enough that little of the last row is wasted.
const WIDTH: u32 = 4096;

const ROW_BYTES: u64 = 16 * WIDTH as u64;

/// The most that an image holds.
pub(crate) fn max_bytes(limits: &wgpu::Limits) -> u64 {
    ROW_BYTES * u64::from(limits.max_texture_dimension_2d)
}

/// One image for each input of a kernel, as large as the largest so far. The queue runs in order: an image is filled for
/// a kernel after those before it have read theirs.
#[derive(Default)]
pub(crate) struct Images(Vec<Image>);

pub(crate) struct Image {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
}

impl Image {
    /// A number that no other image of this input has: it only ever grows.
    pub(crate) fn id(&self) -> u64 {
        u64::from(self.texture.height())
    }

    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::TextureView(&self.view)
    }
}

impl Images {
    pub(crate) fn of_inputs(&self, count: usize) -> &[Image] {
        &self.0[..count]
    }

    /// Makes room for `len` values in the image of input `slot`, where all before it have theirs. Returns whether an image
    /// has been replaced.
    pub(crate) fn fit(&mut self, gpu: &GpuInner, slot: usize, len: usize) -> Result<bool, Error> {
        let rows = (4 * len as u64).div_ceil(ROW_BYTES).max(1);
        if self.0.get(slot).is_some_and(|image| image.id() >= rows) {
            return Ok(false);
        }
        // Twice as much at a time, so that few sizes are ever made.
        let height = rows.next_power_of_two().min(max_bytes(&gpu.device.limits()) / ROW_BYTES);
        let memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("input"),
            size: wgpu::Extent3d { width: WIDTH, height: height as u32, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        if poll_once(memory.pop()).flatten().is_some() {
            let (device, what) = (gpu.description.name.clone(), "an image of an input".to_string());
            let live = gpu.counters.snapshot().live_bytes;
            return Err(Error::OutOfMemory { device, what, wanted: height * ROW_BYTES, live });
        }
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let old = self.0.get(slot).map_or(0, Image::id);
        Counters::add(&gpu.counters.image_bytes, (height - old) * ROW_BYTES);
        let image = Image { texture, view };
        match self.0.get_mut(slot) {
            Some(old) => *old = image,
            None => self.0.push(image),
        }
        Ok(old > 0)
    }

    /// The copy of some values of a buffer to the image of input `slot`.
    pub(crate) fn fill(&self, slot: usize, buffer: &wgpu::Buffer, values: &Range<usize>) -> Fill {
        let (buffer, texture) = (buffer.clone(), self.0[slot].texture.clone());
        Fill { buffer, start: 4 * values.start as u64, texels: values.len().div_ceil(4) as u32, texture }
    }
}

/// A copy of a part of a buffer to an image.
pub(crate) struct Fill {
    buffer: wgpu::Buffer,
    start: u64,
    texels: u32,
    texture: wgpu::Texture,
}

impl Fill {
    pub(crate) fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let (whole, rest) = (self.texels / WIDTH, self.texels % WIDTH);
        for (y, width, height) in [(0, WIDTH, whole), (whole, rest, 1)] {
            if width * height == 0 {
                continue;
            }
            let layout = wgpu::TexelCopyBufferLayout {
                offset: self.start + u64::from(y) * ROW_BYTES,
                bytes_per_row: Some(ROW_BYTES as u32),
                rows_per_image: None,
            };
            let mut target = self.texture.as_image_copy();
            target.origin.y = y;
            let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
            encoder.copy_buffer_to_texture(wgpu::TexelCopyBufferInfo { buffer: &self.buffer, layout }, target, size);
        }
    }
}
