//! The heavy kernels one by one, at the shapes that the networks give them.

use std::time::Instant;

use tilegrad::nn::{Activation, Adam, Optimizer, RmsProp};
use tilegrad::{
    Conv2dOptions, ConvAlgorithm, Device, DeviceInfo, Error, Padding, ProductClass, ProductKind, Result, Rng, Tensor,
    Unary, Window, no_grad,
};

use crate::ceiling::Ceilings;
use crate::nets::{Conv, Net, images};
use crate::report::{KernelRow, median};

/// One kernel, or the few that an op needs, on tensors that are there already.
pub struct Case {
    pub kernel: String,
    pub shape: String,
    /// Arithmetic that the mathematics asks for; a multiply-add counts two.
    pub flops: f64,
    /// Each operand read once and each result written once.
    bytes: f64,
    /// What its tile is chosen by, where it has one.
    pub class: Option<ProductClass>,
    run: Box<dyn Fn()>,
}

/// A case that is made when its turn comes, since all together would not fit.
pub type Make<'a> = Box<dyn Fn() -> Result<Case> + 'a>;

impl Case {
    fn new(kernel: &str, shape: String, flops: usize, elements: usize, run: impl Fn() + 'static) -> Result<Case> {
        let (flops, bytes) = (flops as f64, 4.0 * elements as f64);
        Ok(Case { kernel: kernel.into(), shape, flops, bytes, class: None, run: Box::new(run) })
    }

    fn of_class(self, kind: ProductKind, size: [usize; 3]) -> Case {
        Case { class: Some(ProductClass::new(kind, size)), ..self }
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.kernel, self.shape)
    }

    /// Seconds of one run: the GPU's own of all kernels, or by the clock.
    pub fn time(&self, device: &Device) -> Result<f64> {
        if matches!(device.info(), DeviceInfo::Gpu(adapter) if adapter.timestamps) {
            let ((), profile) = device.profile(|| no_grad(&self.run))?;
            device.check()?;
            if profile.kernels.is_empty() {
                // An op without memory for its result is left out.
                return Err(Error::invalid(self.name(), "a kernel to time", "none, for want of memory"));
            }
            return Ok(1e-6 * profile.total_microseconds());
        }
        let start = Instant::now();
        no_grad(&self.run);
        device.synchronize()?;
        Ok(start.elapsed().as_secs_f64())
    }

    pub fn measure(&self, device: &Device, ceilings: &Ceilings) -> Result<KernelRow> {
        self.time(device)?; // compiles
        let runs = runs_for(self.time(device)?);
        let seconds = median((0..runs).map(|_| self.time(device)).collect::<Result<_>>()?);
        let (gflop_per_s, gb_per_s) = (1e-9 * self.flops / seconds, 1e-9 * self.bytes / seconds);
        Ok(KernelRow {
            kernel: self.kernel.clone(),
            shape: self.shape.clone(),
            class: self.class.map(|class| class.to_string()),
            us: 1e6 * seconds,
            gflop_per_s,
            gb_per_s,
            share_of_fma: gflop_per_s / ceilings.fma_gflop_per_s,
            share_of_copy: gb_per_s / ceilings.copy_gb_per_s,
            runs,
        })
    }
}

/// As many as fit into half a second, and a median needs.
pub fn runs_for(seconds: f64) -> usize {
    ((0.5 / seconds.max(1e-6)) as usize).clamp(3, 15)
}

fn noise(shape: &[usize], seed: u64, device: &Device) -> Tensor {
    Tensor::rand_uniform(-1.0, 1.0, shape, Rng::new(seed).next_key(), device)
}

/// The cases of a network at a batch size; those that two networks share come with the first.
pub fn of_net<'a>(net: Net, batch: usize, device: &'a Device, algorithm: ConvAlgorithm) -> Vec<Make<'a>> {
    let mut cases: Vec<Make<'a>> = vec![Box::new(move || gather(batch, device))];
    for (i, conv) in net.convolutions().into_iter().enumerate() {
        cases.push(Box::new(move || conv_forward(conv, batch, device, algorithm)));
        if i > 0 {
            // Nobody asks for the gradient of the images.
            cases.push(Box::new(move || conv_gradient(conv, batch, device, algorithm, true)));
        }
        cases.push(Box::new(move || conv_gradient(conv, batch, device, algorithm, false)));
    }
    for [side, channels] in net.pooled() {
        cases.push(Box::new(move || pool(side, channels, batch, device, false)));
        cases.push(Box::new(move || pool(side, channels, batch, device, true)));
    }
    for [inputs, outputs] in net.dense() {
        for wanted in [Wanted::Forward, Wanted::Left, Wanted::Right] {
            cases.push(Box::new(move || product(batch, inputs, outputs, device, wanted)));
        }
    }
    let largest = net.convolutions().into_iter().map(|c| c.output(batch)).max_by_key(|y| y.iter().product::<usize>());
    let largest = largest.expect("every network has a convolution");
    cases.push(Box::new(move || activation(net, largest, device, false)));
    cases.push(Box::new(move || activation(net, largest, device, true)));
    if net == Net::FashionCnn {
        cases.push(Box::new(move || dropout(batch, device)));
    }
    cases.push(Box::new(move || cross_entropy(batch, device, false)));
    cases.push(Box::new(move || cross_entropy(batch, device, true)));
    cases.push(Box::new(move || optimizer(net, device)));
    cases
}

/// Square matrix products.
pub fn products<'a>(device: &'a Device) -> Vec<Make<'a>> {
    let square = |n: usize| -> Make<'a> {
        Box::new(move || {
            check_memory(n, device)?;
            product(n, n, n, device, Wanted::Forward)
        })
    };
    [512, 1024, 2048, 4096].map(square).into()
}

/// Three matrices, of which each must fit into a buffer.
fn check_memory(n: usize, device: &Device) -> Result<()> {
    let bytes = 4 * (n * n) as u64;
    match device.info() {
        DeviceInfo::Gpu(adapter) if bytes > adapter.max_tensor_bytes => {
            let limit = adapter.max_tensor_bytes;
            Err(Error::TooLarge { device: adapter.name, what: format!("matmul {n}x{n}"), wanted: bytes, limit })
        }
        _ => Ok(()),
    }
}

impl Conv {
    fn output(&self, batch: usize) -> [usize; 4] {
        let side = match self.padding {
            Padding::Same => self.side,
            _ => self.side - self.kernel + 1,
        };
        [batch, side, side, self.filters]
    }

    fn weights(&self) -> [usize; 4] {
        [self.kernel, self.kernel, self.channels, self.filters]
    }

    fn input(&self, batch: usize) -> [usize; 4] {
        [batch, self.side, self.side, self.channels]
    }

    fn shape(&self, batch: usize) -> String {
        let Conv { side, channels, kernel, filters, .. } = self;
        format!("{batch}x{side}x{side}x{channels} by {kernel}x{kernel}x{channels}x{filters}")
    }

    /// Of the output.
    fn pixels(&self, batch: usize) -> usize {
        self.output(batch)[..3].iter().product()
    }

    /// Of the sum behind each of them.
    fn depth(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    fn flops(&self, batch: usize) -> usize {
        2 * self.pixels(batch) * self.filters * self.depth()
    }

    fn elements(&self, batch: usize) -> usize {
        [self.input(batch), self.weights(), self.output(batch)].iter().map(|s| s.iter().product::<usize>()).sum()
    }
}

fn conv_forward(c: Conv, batch: usize, device: &Device, algorithm: ConvAlgorithm) -> Result<Case> {
    let (x, w) = (noise(&c.input(batch), 1, device), noise(&c.weights(), 2, device));
    let bias = noise(&[c.filters], 3, device);
    let activation = c.relu.then_some(Unary::Relu);
    let options = Conv2dOptions { padding: c.padding, algorithm, activation, ..Default::default() };
    let run = move || drop(x.conv2d(&w, Some(&bias), &options));
    let case = Case::new("conv forward", c.shape(batch), c.flops(batch), c.elements(batch), run)?;
    Ok(case.of_class(ProductKind::Conv2d, [c.pixels(batch), c.filters, c.depth()]))
}

fn conv_gradient(c: Conv, batch: usize, device: &Device, algorithm: ConvAlgorithm, of_data: bool) -> Result<Case> {
    let (mut x, mut w) = (noise(&c.input(batch), 1, device), noise(&c.weights(), 2, device));
    let leaf = if of_data { &mut x } else { &mut w };
    *leaf = leaf.requires_grad();
    let options = Conv2dOptions { padding: c.padding, algorithm, ..Default::default() };
    let (y, dy) = (x.conv2d(&w, None, &options), noise(&c.output(batch), 4, device));
    let run = move || drop(y.backward_with(&dy));
    let (kernel, size) = if of_data {
        let rows = batch * c.side * c.side;
        ("conv data gradient", [rows, c.channels, c.kernel * c.kernel * c.filters])
    } else {
        ("conv weight gradient", [c.depth(), c.filters, c.pixels(batch)])
    };
    let case = Case::new(kernel, c.shape(batch), c.flops(batch), c.elements(batch), run)?;
    Ok(case.of_class(ProductKind::Conv2d, size))
}

#[derive(Clone, Copy)]
enum Wanted {
    Forward,
    /// The gradient of the left matrix.
    Left,
    Right,
}

fn product(m: usize, k: usize, n: usize, device: &Device, wanted: Wanted) -> Result<Case> {
    let (mut a, mut b) = (noise(&[m, k], 1, device), noise(&[k, n], 2, device));
    let (shape, flops, elements) = (format!("{m}x{k} by {k}x{n}"), 2 * m * k * n, m * k + k * n + m * n);
    let (name, size) = match wanted {
        Wanted::Forward => {
            let case = Case::new("matmul", shape, flops, elements, move || drop(a.matmul(&b)))?;
            return Ok(case.of_class(ProductKind::Matmul, [m, n, k]));
        }
        Wanted::Left => ("matmul left gradient", [m, k, n]),
        Wanted::Right => ("matmul right gradient", [k, n, m]),
    };
    let leaf = if matches!(wanted, Wanted::Left) { &mut a } else { &mut b };
    *leaf = leaf.requires_grad();
    let (y, dy) = (a.matmul(&b), noise(&[m, n], 4, device));
    let case = Case::new(name, shape, flops, elements, move || drop(y.backward_with(&dy)))?;
    Ok(case.of_class(ProductKind::Matmul, size))
}

fn pool(side: usize, channels: usize, batch: usize, device: &Device, backward: bool) -> Result<Case> {
    let x = noise(&[batch, side, side, channels], 1, device);
    let shape = format!("{batch}x{side}x{side}x{channels} by 2x2");
    let window = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Valid };
    if !backward {
        let (len, out) = (x.len(), batch * (side / 2) * (side / 2) * channels);
        return Case::new("max pool forward", shape, len, len + out, move || drop(x.max_pool2d(window)));
    }
    let y = x.requires_grad().max_pool2d(window);
    let dy = noise(y.shape(), 4, device);
    // Gradients and the positions of the largest.
    let elements = x.len() + 2 * y.len();
    Case::new("max pool backward", shape, x.len(), elements, move || drop(y.backward_with(&dy)))
}

fn activation(net: Net, shape: [usize; 4], device: &Device, backward: bool) -> Result<Case> {
    let (name, f) = match net {
        Net::Swish => ("swish", Activation::Swish),
        _ => ("relu", Activation::Relu),
    };
    let x = noise(&shape, 1, device);
    let (shape, len) = (shape.map(|n| n.to_string()).join("x"), x.len());
    if !backward {
        return Case::new(&format!("{name} forward"), shape, len, 2 * len, move || drop(f.apply(&x)));
    }
    let (y, dy) = (f.apply(&x.requires_grad()), noise(x.shape(), 4, device));
    Case::new(&format!("{name} backward"), shape, len, 3 * len, move || drop(y.backward_with(&dy)))
}

fn cross_entropy(batch: usize, device: &Device, backward: bool) -> Result<Case> {
    let logits = noise(&[batch, 10], 1, device);
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
    let labels = Tensor::new(&labels, [batch], device);
    let shape = format!("{batch}x10");
    let len = logits.len();
    if !backward {
        let run = move || drop(logits.cross_entropy(&labels));
        return Case::new("cross-entropy forward", shape, 4 * len, len + 2 * batch, run);
    }
    let (y, dy) = (logits.requires_grad().cross_entropy(&labels), Tensor::ones([batch], device));
    Case::new("cross-entropy backward", shape, 4 * len, 2 * len + 2 * batch, move || drop(y.backward_with(&dy)))
}

fn dropout(batch: usize, device: &Device) -> Result<Case> {
    let x = noise(&[batch, 100], 1, device);
    let (key, len) = (Rng::new(5).next_key(), x.len());
    Case::new("dropout", format!("{batch}x100"), len, 2 * len, move || drop(x.dropout(0.4, key)))
}

fn gather(batch: usize, device: &Device) -> Result<Case> {
    let data = images(4 * batch, device)?;
    let index: Vec<u32> = (0..batch as u32).map(|i| i * 2_654_435_761 % (4 * batch as u32)).collect();
    let index = Tensor::new(&index, [batch], device);
    // Bytes in, numbers of four bytes out.
    let elements = batch * 28 * 28 * 5 / 4;
    Case::new("gather batch", format!("{batch}x28x28x1"), batch * 28 * 28, elements, move || drop(data.batch(&index)))
}

fn optimizer(net: Net, device: &Device) -> Result<Case> {
    let weights: usize = net.convolutions().iter().map(|c| c.weights().iter().product::<usize>() + c.filters).sum();
    let len = weights + net.dense().iter().map(|[i, o]| i * o + o).sum::<usize>();
    let (name, optimizer): (_, Box<dyn Optimizer>) = match net {
        Net::MnistConvnet | Net::NoMaxPool => ("rmsprop", Box::new(RmsProp::default())),
        Net::FashionCnn | Net::Swish => ("adam", Box::new(Adam::default())),
    };
    let params = noise(&[len], 1, device);
    let gradients = noise(&[len], 2, device);
    let moments: Vec<Tensor> = optimizer.moments().iter().map(|_| Tensor::zeros([len], device)).collect();
    // Weights and moments are read and written, gradients read.
    let elements = (3 + 2 * moments.len()) * len;
    let run = move || optimizer.step(&1.into(), &params, &gradients, &moments);
    Case::new(name, len.to_string(), 12 * len, elements, run)
}
