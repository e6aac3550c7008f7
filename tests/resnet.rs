//! Residual networks trained by the program, step for step as PyTorch trains torchvision's
//! (`scripts/make-golden-resnet.py`).

mod common;
mod program;

use program::{Folder, wgrad};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What PyTorch did with one network.
struct Golden {
    document: Value,
    tensors: Vec<u8>,
}

impl Golden {
    fn read(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resnet");
        let document = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let tensors = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
        Golden { document: serde_json::from_str(&document).unwrap(), tensors }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.tensors).unwrap()
    }

    fn losses(&self) -> Vec<f64> {
        serde_json::from_value(self.document["losses"]["f64"].clone()).unwrap()
    }

    /// Writes weights, arrays and a configuration as a user would have them.
    fn write(&self, folder: &Folder, device: &str) -> PathBuf {
        let path = |name: &str| folder.path().join(name);
        let tensors = self.tensors();
        let initial: Vec<(String, TensorView<'_>)> = tensors
            .tensors()
            .into_iter()
            .filter_map(|(name, view)| Some((name.strip_prefix("initial.")?.to_string(), view)))
            .collect();
        std::fs::write(path("weights.safetensors"), safetensors::serialize(initial, None).unwrap()).unwrap();
        for name in ["inputs", "targets"] {
            std::fs::write(path(&format!("{name}.npy")), npy(&tensors.tensor(name).unwrap())).unwrap();
        }
        let option = |name: &str| self.document["optimizer"][name].as_f64().unwrap();
        std::fs::write(path("model.json"), self.document["config"].to_string()).unwrap();
        let config = format!(
            "[model]\nkind = \"resnet\"\nconfig = \"model.json\"\nweights = \"weights.safetensors\"\n\
             [data]\nkind = \"arrays\"\ninputs = \"inputs.npy\"\ntargets = \"targets.npy\"\nbatch_size = {}\n\
             order = \"sequential\"\n[optimizer]\nkind = \"sgd\"\nlr = {}\nmomentum = {}\nweight_decay = {}\n\
             [train]\nsteps = {}\ndevice = \"{device}\"\n",
            self.document["batch_size"],
            option("lr"),
            option("momentum"),
            option("weight_decay"),
            self.document["steps"],
        );
        std::fs::write(path("resnet.toml"), config).unwrap();
        path("resnet.toml")
    }
}

/// A tensor as a NumPy file, version 1.0.
fn npy(view: &TensorView<'_>) -> Vec<u8> {
    let kind = match view.dtype() {
        Dtype::F32 => "<f4",
        Dtype::I64 => "<i8",
        other => panic!("{other:?}"),
    };
    let sizes: Vec<String> = view.shape().iter().map(|size| format!("{size},")).collect();
    let mut header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", sizes.concat()).into_bytes();
    header.resize((header.len() + 11).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header);
    file.extend(view.data());
    file
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Trains as PyTorch did and compares losses, weights and probabilities.
fn trains_as_pytorch(name: &str, device: &str, room: f64) {
    let (golden, folder) = (Golden::read(name), Folder::new());
    golden.write(&folder, device);
    wgrad(&folder, &["train", "resnet.toml", "--out", "run"]).succeeds();
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = golden.losses();
    let losses: Vec<f64> =
        lines.iter().filter(|line| line.get("lr").is_some()).map(|line| line["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), expected.len());
    let worst = losses.iter().zip(&expected).map(|(found, exact)| ((found - exact) / exact).abs()).fold(0.0, f64::max);
    println!("{name} on {device}: losses at most {worst:.1e} from PyTorch's in double precision");
    assert!(worst <= room, "{losses:?} instead of {expected:?}: {worst:e}");

    let saved = std::fs::read(folder.path().join("run/model.safetensors")).unwrap();
    let saved = SafeTensors::deserialize(&saved).unwrap();
    let all = golden.tensors();
    let trained: Vec<(String, TensorView<'_>)> = all
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| Some((name.strip_prefix("trained.")?.to_string(), view)))
        .collect();
    assert_eq!(saved.len(), trained.len());
    for (name, view) in &trained {
        let found = saved.tensor(name).unwrap_or_else(|_| panic!("{name} is missing"));
        assert_eq!((found.dtype(), found.shape()), (view.dtype(), view.shape()), "{name}");
        let (found, expected) = (floats(&found), floats(view));
        let scale = expected.iter().fold(0.01_f32, |largest, value| largest.max(value.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            let error = f64::from((found - expected).abs() / scale);
            assert!(error <= 10.0 * room, "{name}: {found} instead of {expected}");
        }
    }

    // In evaluation by the running statistics.
    let outcome = wgrad(&folder, &["predict", "run", "inputs.npy", "--json"]).succeeds();
    let document: Value = serde_json::from_str(&outcome).unwrap();
    let rows = document["predictions"].as_array().unwrap();
    let classes = golden.document["config"]["num_classes"].as_u64().unwrap() as usize;
    for (row, logits) in rows.iter().zip(floats(&all.tensor("logits").unwrap()).chunks(classes)) {
        let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        for (class, &logit) in logits.iter().enumerate() {
            let expected = f64::from(logit).exp() / total;
            let found = row["probabilities"][class.to_string()].as_f64().unwrap();
            assert!((found - expected).abs() <= 10.0 * room, "class {class}: {found} instead of {expected}");
        }
    }
    assert_eq!(rows.len() * classes, all.tensor("logits").unwrap().data().len() / 4);
}

#[test]
fn basic_blocks_train_as_torchvision_on_the_cpu() {
    trains_as_pytorch("basic-cifar", "cpu", 1e-5);
}

#[test]
fn bottlenecks_train_as_torchvision_on_the_cpu() {
    trains_as_pytorch("bottleneck-imagenet", "cpu", 1e-5);
}

#[test]
fn networks_train_as_torchvision_on_a_gpu() {
    let Some(device) = common::gpu() else { return };
    let name = format!("gpu:{}", device.as_gpu().expect("a GPU").info().name);
    trains_as_pytorch("basic-cifar", &name, 1e-4);
    trains_as_pytorch("bottleneck-imagenet", &name, 1e-4);
}

#[test]
fn weights_of_another_network_are_refused_with_all_that_differs() {
    let (golden, folder) = (Golden::read("basic-cifar"), Folder::new());
    golden.write(&folder, "cpu");
    let mut config = golden.document["config"].clone();
    config["layers"] = serde_json::json!([1, 1, 1, 1]);
    config["stem"] = "imagenet".into();
    std::fs::write(folder.path().join("model.json"), config.to_string()).unwrap();
    let outcome = wgrad(&folder, &["train", "resnet.toml", "--out", "run"]);
    assert_eq!(outcome.code, Some(1));
    for part in ["weights.safetensors", "surplus: `layer2.1.conv1.weight`", "misshapen: `conv1.weight`", "[4, 3, 7, 7]"]
    {
        assert!(outcome.errors.contains(part), "{part} is not in {}", outcome.errors);
    }
    assert!(!folder.path().join("run").exists());
}
