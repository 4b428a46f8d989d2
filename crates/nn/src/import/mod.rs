//! Weights from other frameworks' files: their names, layouts and element types are brought to this model's.

#[cfg(feature = "keras")]
mod keras;
mod natural;
mod torch;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use tilegrad_core::{Error, Result};

use crate::checkpoint::Loaded;
use crate::entry::LayerEntry;
use crate::model::Model;
use crate::param::Param;

/// Weights that another framework trained, to be loaded into a model of the same architecture.
///
/// A file's modules (PyTorch's word; in Keras they are layers) are matched with the model's layers that have weights: by
/// name, where all names are the same or were told with [`Pretrained::rename`], and otherwise by order, each with the next.
/// All shapes have to fit then, and nothing may be left over but what [`Pretrained::ignore`] names; otherwise nothing is
/// loaded, and the error lists every difference.
///
/// ```no_run
/// use tilegrad_core::Device;
/// use tilegrad_nn::{Pretrained, models::Vgg16};
///
/// # fn main() -> tilegrad_core::Result<()> {
/// let mut base = Vgg16::new().include_top(false).build();
/// base.build(&Device::cpu(), 0)?;
/// // Saved in Python by `safetensors.torch.save_file(torchvision_model.state_dict(), path)`.
/// Pretrained::torch("vgg16.safetensors").ignore("classifier").load_into(&mut base)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is loaded before `load_into`"]
pub struct Pretrained {
    path: PathBuf,
    format: Format,
    names: HashMap<String, String>,
    ignored: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Torch,
    #[cfg(feature = "keras")]
    Keras,
}

/// A part of a file that belongs to one layer: its tensors by name, and their shapes.
#[derive(Debug)]
struct Module {
    name: String,
    tensors: BTreeMap<String, Vec<usize>>,
}

/// How a weight is made of a tensor in the file.
#[derive(Debug)]
enum Recipe {
    /// The tensor of this name seen in this shape, with its axes in this order.
    Permuted { tensor: String, shape: Vec<usize>, axes: Vec<usize> },
    /// The only number of the tensor of this name, everywhere.
    Repeated { tensor: String },
    /// As a convolution without a bias has it.
    Zeros,
}

impl Pretrained {
    /// A safetensors file with PyTorch's names and layouts: `features.0.weight` as `(O, I, H, W)`, `fc.weight` as
    /// `(out, in)`, `bn1.running_mean`. Elements may be `f32`, `f64`, `f16` or `bf16`.
    ///
    /// A dense layer behind a `Flatten` gets its rows in the order of this framework's images, `(H, W, C)`, where PyTorch
    /// flattens `(C, H, W)`. The order of modules, where names don't tell which is which, is that of the numbers in their
    /// names, with `classifier`, `fc` and `head` behind everything else: that of torchvision's AlexNet, VGG and MobileNet;
    /// [`ResNet50`](crate::models::ResNet50::torchvision_names) has names to [`rename_all`](Pretrained::rename_all). A bias that the file lacks, as `Conv2d(.., bias=False)` leaves it out, becomes 0. What PyTorch
    /// computes is computed here if padding, strides and epsilons are set to its values too.
    pub fn torch(path: impl Into<PathBuf>) -> Pretrained {
        Pretrained { path: path.into(), format: Format::Torch, names: HashMap::new(), ignored: Vec::new() }
    }

    /// A file of Keras: `.weights.h5` and `.keras` of Keras 3, or the HDF5 file of a whole model or of weights that earlier
    /// versions wrote, as `keras.applications` has them.
    #[cfg(feature = "keras")]
    pub fn keras(path: impl Into<PathBuf>) -> Pretrained {
        Pretrained { path: path.into(), format: Format::Keras, names: HashMap::new(), ignored: Vec::new() }
    }

    /// The layer that gets the weights of a module: `rename("features.0", "block1_conv1")`. Once a name is told, the
    /// modules without one go by their own.
    pub fn rename(mut self, module: impl Into<String>, layer: impl Into<String>) -> Pretrained {
        self.names.insert(module.into(), layer.into());
        self
    }

    /// Several [`rename`](Pretrained::rename)s.
    pub fn rename_all<M: Into<String>, L: Into<String>>(self, names: impl IntoIterator<Item = (M, L)>) -> Pretrained {
        names.into_iter().fold(self, |all, (module, layer)| all.rename(module, layer))
    }

    /// Passes over a module and all that are in it, such as the classifier on top of what is wanted.
    pub fn ignore(mut self, module: impl Into<String>) -> Pretrained {
        self.ignored.push(module.into());
        self
    }

    /// Loads all weights, or none.
    ///
    /// # Errors
    /// - [`Error::NotReady`] when the model is not built,
    /// - [`Error::Io`] when the file can't be read,
    /// - [`Error::Malformed`] when it is damaged or not of this format,
    /// - [`Error::Invalid`] for a name that is not in the file or the model,
    /// - [`Error::Checkpoint`] when it doesn't fit the model, with every difference.
    pub fn load_into(&self, model: &mut Model) -> Result<Loaded> {
        model.arrange()?;
        let path = self.path.as_path();
        match self.format {
            Format::Torch => self.load(model, torch::File::open(path)?),
            #[cfg(feature = "keras")]
            Format::Keras => self.load(model, keras::File::open(path, model.count_params())?),
        }
    }

    fn load(&self, model: &mut Model, mut file: impl Foreign) -> Result<Loaded> {
        let mut modules = file.modules();
        self.check_names(model, &modules)?;
        let inside = |module: &Module, outer: &String| {
            module.name == *outer || module.name.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
        };
        modules.retain(|module| !self.ignored.iter().any(|outer| inside(module, outer)));
        let layers: Vec<&LayerEntry> = model.layers().iter().filter(|entry| !entry.weights().is_empty()).collect();
        let matched = self.matched(&layers, &modules, &file);

        let mut recipes = Vec::new();
        let mut differences = Vec::new();
        for (entry, &module) in layers.iter().zip(&matched) {
            let Some(module) = module.map(|i| &modules[i]) else {
                differences.push(format!("{}: nothing in the file for this layer", entry.name()));
                continue;
            };
            for weight in entry.weights() {
                match file.recipe(model, entry, weight, module) {
                    Ok(recipe) => recipes.push((module, recipe)),
                    Err(problem) => {
                        let name = format!("{}.{}", entry.name(), weight.name());
                        differences.push(format!("{name} from {:?}: {problem}", module.name));
                    }
                }
            }
        }
        let left_over = modules.iter().enumerate().filter(|(i, _)| !matched.contains(&Some(*i)));
        differences.extend(left_over.map(|(_, module)| {
            let shapes: Vec<String> = module.tensors.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
            format!("{:?}: in the file with {}, but no layer takes it", module.name, shapes.join(", "))
        }));
        if !differences.is_empty() {
            const MOST: usize = 100;
            let rest = differences.len().saturating_sub(MOST);
            differences.truncate(MOST);
            if rest > 0 {
                differences.push(format!("and {rest} more"));
            }
            return Err(Error::Checkpoint { path: self.path.clone(), differences });
        }
        let weights = layers.iter().flat_map(|entry| entry.weights());
        let mut values = Vec::with_capacity(recipes.len());
        for ((module, recipe), weight) in recipes.iter().zip(weights) {
            values.push(Some(match recipe {
                Recipe::Zeros => vec![0.0; weight.len()],
                Recipe::Repeated { tensor } => vec![file.read(module, tensor)?[0]; weight.len()],
                Recipe::Permuted { tensor, shape, axes } => permuted(&file.read(module, tensor)?, shape, axes),
            }));
        }
        drop(recipes);
        model.set_weights(values, Vec::new())
    }

    /// Refuses names that nothing answers to: most are misspelt.
    fn check_names(&self, model: &Model, modules: &[Module]) -> Result<()> {
        for (module, layer) in &self.names {
            model.layer(layer)?;
            if !modules.iter().any(|m| m.name == *module) {
                let names: Vec<&str> = modules.iter().map(|m| m.name.as_str()).take(100).collect();
                let expected = format!("one of {}", names.join(", "));
                return Err(Error::invalid(
                    format!("module of {}", self.path.display()),
                    expected,
                    format!("{module:?}"),
                ));
            }
        }
        Ok(())
    }

    /// The module of each layer: by name, where names tell it, and else by order.
    fn matched(&self, layers: &[&LayerEntry], modules: &[Module], file: &impl Foreign) -> Vec<Option<usize>> {
        let by_order = file.by_order(layers, modules);
        let in_order = by_order.iter().all(Option::is_some) && layers.len() == modules.len();
        if self.names.is_empty() && file.names_are_of_types() && in_order {
            return by_order;
        }
        self.by_name(layers, modules).unwrap_or(by_order)
    }

    /// The module of each layer by name. `None` if names differ and none was told.
    fn by_name(&self, layers: &[&LayerEntry], modules: &[Module]) -> Option<Vec<Option<usize>>> {
        let name = |module: &Module| self.names.get(&module.name).unwrap_or(&module.name).clone();
        let names: HashMap<String, usize> = modules.iter().enumerate().map(|(i, module)| (name(module), i)).collect();
        let found: Vec<Option<usize>> = layers.iter().map(|entry| names.get(entry.name()).copied()).collect();
        (!self.names.is_empty() || found.iter().all(Option::is_some)).then_some(found)
    }
}

/// A file of another framework.
trait Foreign {
    /// What is in it, in the order in which it was most likely made.
    fn modules(&self) -> Vec<Module>;

    /// Whether names are made of the layers' types, so that the same name may mean another layer.
    fn names_are_of_types(&self) -> bool {
        false
    }

    /// The module of each layer where names say nothing.
    fn by_order(&self, layers: &[&LayerEntry], modules: &[Module]) -> Vec<Option<usize>>;

    /// How a weight is made of a module, or why it can't be.
    fn recipe(&self, model: &Model, entry: &LayerEntry, weight: &Param, module: &Module) -> Result<Recipe, String>;

    /// The numbers of a tensor.
    fn read(&mut self, module: &Module, tensor: &str) -> Result<Vec<f32>>;
}

/// A tensor's numbers with its axes in another order.
fn permuted(values: &[f32], shape: &[usize], axes: &[usize]) -> Vec<f32> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let (sizes, strides): (Vec<usize>, Vec<usize>) = axes.iter().map(|&axis| (shape[axis], strides[axis])).unzip();
    let mut place = vec![0; axes.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[place.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>()]);
        for axis in (0..place.len()).rev() {
            place[axis] += 1;
            if place[axis] < sizes[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::permuted;

    #[test]
    fn axes_change_places() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        assert_eq!(permuted(&values, &[2, 3], &[1, 0]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(permuted(&values, &[1, 2, 3], &[1, 2, 0]), values);
    }
}
