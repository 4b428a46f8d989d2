//! PyTorch's `state_dict` as safetensors: images are `(N, C, H, W)` there, and so are kernels.

use std::collections::BTreeMap;
use std::path::Path;

use tilegrad_core::{Result, Shape};

use super::{Foreign, Module, Recipe, natural};
use crate::entry::LayerEntry;
use crate::model::Model;
use crate::param::Param;
use crate::weights_file::Checkpoint;

/// What torchvision calls the part behind the features.
const HEADS: [&str; 4] = ["classifier", "fc", "head", "heads"];

pub(super) struct File<'a>(Checkpoint<'a>);

impl<'a> File<'a> {
    pub(super) fn open(path: &'a Path) -> Result<File<'a>> {
        Ok(File(Checkpoint::open(path, None)?))
    }
}

impl Foreign for File<'_> {
    fn modules(&self) -> Vec<Module> {
        let mut modules: BTreeMap<String, Module> = BTreeMap::new();
        for (path, shape) in self.0.tensors() {
            let (name, tensor) = path.rsplit_once('.').unwrap_or(("", &path));
            // A counter that only training without momentum looks at.
            if tensor == "num_batches_tracked" {
                continue;
            }
            let new = || Module { name: name.into(), tensors: BTreeMap::new() };
            modules.entry(name.into()).or_insert_with(new).tensors.insert(tensor.into(), shape);
        }
        let mut modules: Vec<Module> = modules.into_values().collect();
        // A file keeps no order; the numbers of a `Sequential` tell it, and what the head is mostly called.
        let is_head = |name: &str| HEADS.contains(&name.split('.').next().unwrap_or(name));
        modules.sort_by_key(|module| (is_head(&module.name), natural::key(&module.name)));
        modules
    }

    fn by_order(&self, layers: &[&LayerEntry], modules: &[Module]) -> Vec<Option<usize>> {
        (0..layers.len()).map(|i| (i < modules.len()).then_some(i)).collect()
    }

    fn recipe(&self, model: &Model, entry: &LayerEntry, weight: &Param, module: &Module) -> Result<Recipe, String> {
        let kind = entry.layer().kind().to_string();
        let tensor = match weight.name() {
            "kernel" | "gamma" | "embeddings" | "alpha" if kind != "SeparableConv2D" => "weight",
            "bias" | "beta" => "bias",
            "moving_mean" => "running_mean",
            "moving_variance" => "running_var",
            _ => return Err(format!("PyTorch has no module like {kind}")),
        };
        let Some(shape) = module.tensors.get(tensor) else {
            if weight.name() == "bias" {
                return Ok(Recipe::Zeros);
            }
            let there: Vec<&str> = module.tensors.keys().map(String::as_str).collect();
            return Err(format!("expected a {tensor}, got {}", there.join(", ")));
        };
        let want = weight.shape();
        let (seen, axes): (Vec<usize>, Vec<usize>) = match (kind.as_str(), weight.name(), shape.len()) {
            ("Conv1D", "kernel", 3) => (shape.clone(), vec![2, 1, 0]),
            // The transposed one has (in, out, H, W) there and (H, W, out, in) here: the same order of axes.
            ("Conv2D" | "Conv2DTranspose", "kernel", 4) => (shape.clone(), vec![2, 3, 1, 0]),
            ("DepthwiseConv2D", "kernel", 4) if shape[1] == 1 && shape[0] == want[2] * want[3] => {
                (vec![want[2], want[3], shape[2], shape[3]], vec![2, 3, 0, 1])
            }
            ("Dense", "kernel", 2) => match flattened(model, entry) {
                // Its inputs are those of an image, channels first.
                Some(image) if image.len() == shape[1] => {
                    let (spatial, channels) = (&image[1..image.rank() - 1], image[image.rank() - 1]);
                    let seen = [&[shape[0], channels], spatial].concat();
                    let axes = (2..seen.len()).chain([1, 0]).collect();
                    (seen, axes)
                }
                _ => (shape.clone(), vec![1, 0]),
            },
            ("PReLU", "alpha", 1) if shape[0] == 1 => return Ok(Recipe::Repeated { tensor: tensor.into() }),
            ("PReLU", "alpha", 1) if shape[0] == want.len() => (want.to_vec(), (0..want.rank()).collect()),
            (_, _, rank) => (shape.clone(), (0..rank).collect()),
        };
        let became: Vec<usize> = axes.iter().map(|&axis| seen[axis]).collect();
        let fits = match kind.as_str() {
            "Dense" if weight.name() == "kernel" => {
                let (out, inputs) = became.split_last().expect("a matrix");
                became.len() >= 2 && [inputs.iter().product(), *out] == want[..]
            }
            _ => became == want[..],
        };
        if !fits {
            return Err(format!("expected a {tensor} for {want}, got {shape:?} in PyTorch's layout"));
        }
        Ok(Recipe::Permuted { tensor: tensor.into(), shape: seen, axes })
    }

    fn read(&mut self, module: &Module, tensor: &str) -> Result<Vec<f32>> {
        let name = if module.name.is_empty() { tensor.to_string() } else { format!("{}.{tensor}", module.name) };
        self.0.read_as_f32(&name)
    }
}

/// The shape of the images, with a batch axis of 1, that a layer gets as rows: its input comes from a `Flatten`, through
/// nothing but layers without weights that keep the shape.
fn flattened(model: &Model, entry: &LayerEntry) -> Option<Shape> {
    let graph = &model.graph;
    let shapes = graph.value_shapes();
    let mut node = graph.nodes.iter().find(|node| graph.layers[node.layer].name() == entry.name())?;
    loop {
        let &[input] = node.inputs.as_slice() else { return None };
        node = graph.nodes.get(input.checked_sub(graph.inputs.len())?)?;
        let (before, maker) = (*shapes.get(*node.inputs.first()?)?, &graph.layers[node.layer]);
        if maker.layer().kind() == "Flatten" {
            return (before.rank() > 2).then_some(before);
        }
        if !maker.weights().is_empty() || before != shapes[input] {
            return None;
        }
    }
}
