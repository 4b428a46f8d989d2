//! Keras's weights: HDF5, by itself or inside a `.keras` archive.
//!
//! ```text
//! layers/conv2d/vars/0, 1, ..                      Keras 3; names are made of types, also where the user gave others
//! model_weights/first/sequential/first/kernel      earlier, with the names that the layers have
//! block1_conv1/block1_conv1_W_1:0                  earlier still
//! ```

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use hdf5_reader::{Dataset, Hdf5File, group::Group};
use tilegrad_core::{Error, Result};

use super::{Foreign, Module, Recipe, natural};
use crate::entry::LayerEntry;
use crate::layer::snake_case;
use crate::model::Model;
use crate::param::Param;

/// Groups inside groups that are followed: a file may point back at itself.
const MAX_DEPTH: usize = 32;

/// Tensors that are looked at: those of a network with thousands of layers, with what its optimizer kept.
const MAX_TENSORS: usize = 1 << 16;

pub(super) struct File<'a> {
    path: &'a Path,
    modules: BTreeMap<String, Found>,
    /// Whether names are made of types.
    by_type: bool,
}

/// The tensors of a layer, in the order in which it made them.
#[derive(Default)]
struct Found(Vec<(String, Dataset)>);

impl<'a> File<'a> {
    /// Opens a file for a model with so many numbers in its weights.
    pub(super) fn open(path: &'a Path, params: usize) -> Result<File<'a>> {
        let io = |e| Error::io(path, e);
        let mut start = [0; 4];
        let is_archive =
            std::fs::File::open(path).map_err(io)?.read_exact(&mut start).is_ok() && start == *b"PK\x03\x04";
        let broken = |e: hdf5_reader::error::Error| malformed(path, "file", "HDF5, as Keras writes it", e);
        let file = match is_archive {
            true => Hdf5File::from_vec(unpack(path, params)?).map_err(broken)?,
            false => Hdf5File::open(path).map_err(broken)?,
        };
        let mut root = file.root_group().map_err(broken)?;
        // A whole model of earlier versions.
        if let Ok(weights) = root.group("model_weights") {
            root = weights;
        }
        let (groups, _) = root.member_names().map_err(broken)?;
        let by_type = groups.iter().any(|name| name == "layers");
        let mut tensors = Vec::new();
        collect(&root, &mut Vec::new(), &mut tensors)
            .map_err(|problem| malformed(path, "groups", "a tree", problem))?;

        let mut modules: BTreeMap<String, Found> = BTreeMap::new();
        for (parts, dataset) in tensors {
            let (module, name) = if by_type { of_type(&parts) } else { of_layer(&parts) };
            // Their random numbers start over.
            if !module.is_empty() && !module.ends_with("seed_generator") && !module.ends_with("seed_generator_state") {
                modules.entry(module).or_default().0.push((name, dataset));
            }
        }
        for (module, found) in &mut modules {
            let order = if by_type { None } else { order_of(&root, module) };
            let place = |name: &str| order.as_ref().and_then(|order| order.iter().position(|told| told == name));
            found.0.sort_by_key(|(name, _)| (place(name).unwrap_or(usize::MAX), natural::key(name)));
        }
        if modules.is_empty() {
            return Err(malformed(path, "file", "weights of Keras's layers", format!("groups {}", groups.join(", "))));
        }
        Ok(File { path, modules, by_type })
    }
}

/// The weights' file inside an archive.
fn unpack(path: &Path, params: usize) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let broken =
        |e: &dyn std::fmt::Display| malformed(path, "archive", "a .keras file with model.weights.h5", e.to_string());
    let mut archive = zip::ZipArchive::new(file).map_err(|e| broken(&e))?;
    let mut weights = archive.by_name("model.weights.h5").map_err(|e| broken(&e))?;
    // Weights and two moments, in double precision, and something for each tensor.
    let most = (params as u64).saturating_mul(24).saturating_add(64 << 20);
    if weights.size() > most {
        let got = format!("{} bytes", weights.size());
        return Err(malformed(path, "model.weights.h5", format!("at most {most} bytes for this model"), got));
    }
    let mut bytes = Vec::new();
    let read = weights.by_ref().take(most).read_to_end(&mut bytes);
    read.map_err(|e| broken(&e))?;
    Ok(bytes)
}

/// All tensors below a group, each with the names on the way.
fn collect(group: &Group, way: &mut Vec<String>, tensors: &mut Vec<(Vec<String>, Dataset)>) -> Result<(), String> {
    if way.len() > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} groups inside each other"));
    }
    let (groups, datasets) = group.members().map_err(|e| e.to_string())?;
    for dataset in datasets {
        if tensors.len() == MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        let parts = way.iter().cloned().chain([last(dataset.name()).to_string()]).collect();
        tensors.push((parts, dataset));
    }
    for inner in groups {
        let name = last(inner.name()).to_string();
        if way.is_empty() && matches!(name.as_str(), "optimizer" | "optimizer_weights" | "top_level_model_weights") {
            continue;
        }
        way.push(name);
        collect(&inner, way, tensors)?;
        way.pop();
    }
    Ok(())
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Module and tensor in a file of Keras 3: `layers/functional/layers/conv2d/vars/0` is `functional.conv2d` and `0`.
fn of_type(parts: &[String]) -> (String, String) {
    let (name, way) = parts.split_last().expect("a tensor has a name");
    let names: Vec<&str> = way.iter().map(String::as_str).filter(|part| !matches!(*part, "layers" | "vars")).collect();
    (names.join("."), name.clone())
}

/// Module and tensor in an earlier file: the layer is in front.
fn of_layer(parts: &[String]) -> (String, String) {
    match parts {
        [layer, rest @ ..] if !rest.is_empty() => (layer.clone(), rest.join("/")),
        _ => (String::new(), String::new()),
    }
}

/// The order of a layer's tensors, if the file tells it.
fn order_of(root: &Group, layer: &str) -> Option<Vec<String>> {
    let group = root.group(layer).ok()?;
    let attribute = group.attribute("weight_names").ok()?;
    let told = attribute.read_strings().ok();
    told.or_else(|| {
        let data = group.file_data().ok()?;
        attribute.read_vlen_strings(data.as_ref(), group.offset_size()).ok()
    })
}

/// A type's automatic name without its number.
fn base(name: &str) -> &str {
    let name = name.rsplit('.').next().unwrap_or(name);
    match name.rsplit_once('_') {
        Some((base, number)) if number.parse::<u32>().is_ok() => base,
        _ => name,
    }
}

/// An error for a file that is not what it should be.
fn malformed(path: &Path, what: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Error {
    Error::Malformed { path: path.into(), what: what.into(), expected: expected.into(), got: got.to_string() }
}

impl Foreign for File<'_> {
    fn modules(&self) -> Vec<Module> {
        let dims =
            |dataset: &Dataset| dataset.shape().iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
        let module = |(name, found): (&String, &Found)| {
            let tensors = found.0.iter().map(|(name, dataset)| (name.clone(), dims(dataset))).collect();
            Module { name: name.clone(), tensors }
        };
        let mut modules: Vec<Module> = self.modules.iter().map(module).collect();
        modules.sort_by_key(|module| natural::key(&module.name));
        modules
    }

    fn names_are_of_types(&self) -> bool {
        self.by_type
    }

    /// The first `Dense` gets `dense`, or whichever dense layer's number is lowest, the next one the next.
    fn by_order(&self, layers: &[&LayerEntry], modules: &[Module]) -> Vec<Option<usize>> {
        let mut taken = vec![false; modules.len()];
        let mut of = |entry: &&LayerEntry| {
            let kind = snake_case(entry.layer().kind());
            let next = (0..modules.len()).find(|&i| !taken[i] && base(&modules[i].name) == kind)?;
            taken[next] = true;
            Some(next)
        };
        layers.iter().map(&mut of).collect()
    }

    fn recipe(&self, _: &Model, entry: &LayerEntry, weight: &Param, module: &Module) -> Result<Recipe, String> {
        let place = entry.weights().iter().position(|other| other.is(weight)).expect("a weight of the layer");
        let Some((name, dataset)) = self.modules[&module.name].0.get(place) else {
            return Err(format!("expected {} tensors, got {}", entry.weights().len(), module.tensors.len()));
        };
        let shape: Vec<usize> = module.tensors[name].clone();
        if shape != weight.shape()[..] {
            return Err(format!("expected {}, got {:?}", weight.shape(), dataset.shape()));
        }
        let axes = (0..shape.len()).collect();
        Ok(Recipe::Permuted { tensor: name.clone(), shape, axes })
    }

    fn read(&mut self, module: &Module, tensor: &str) -> Result<Vec<f32>> {
        let found = &self.modules[&module.name].0;
        let (_, dataset) = found.iter().find(|(name, _)| name == tensor).expect("the recipe took it from here");
        let broken = |e: hdf5_reader::error::Error| {
            malformed(self.path, format!("{}/{tensor}", module.name), "floating-point numbers", e)
        };
        let size = hdf5_reader::dtype_element_size(dataset.dtype()).map_err(broken)?;
        if size == 8 {
            return Ok(dataset.read_array::<f64>().map_err(broken)?.iter().map(|&v| v as f32).collect());
        }
        Ok(dataset.read_array::<f32>().map_err(broken)?.iter().copied().collect())
    }
}
