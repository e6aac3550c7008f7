//! Saving and loading: round trips, other number formats, and files that don't fit.

use nn_core::{Device, Tensor};
use nn_train::nn::{Linear, Relu, Sequential};
use nn_train::train::{TensorFile, read_tensors, write_tensors};
use nn_train::{Error, Trainer};
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn trainer(seed: u64) -> Trainer {
    let model = Sequential::new().add(Linear::new(3, 4)).add(Relu).add(Linear::new(4, 2));
    let mut trainer = Trainer::new(model).device(Device::cpu()).seed(seed);
    trainer.build(&[3]).unwrap();
    trainer
}

fn message<T>(result: Result<T, Error>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn what_is_saved_is_loaded() -> Result<(), Error> {
    let folder = folder("round_trip");
    let path = folder.join("model.safetensors");
    trainer(9).save(&path)?;
    trainer(1).save(&path)?;
    let mut other = trainer(2);
    assert!(other.state_dict()? != trainer(1).state_dict()?);
    other.load(&path)?;
    assert_eq!(other.state_dict()?, trainer(1).state_dict()?);
    let sample = [0.5, -1.0, 2.0];
    assert_eq!(other.predict(&sample)?, trainer(1).predict(&sample)?);
    let TensorFile { tensors, metadata } = read_tensors(&path)?;
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["0.bias", "0.weight", "2.bias", "2.weight"]);
    assert_eq!(metadata["format"], "pt");
    // Nothing is left of the temporary file.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    // The same state gives the same file.
    let bytes = std::fs::read(&path).unwrap();
    other.save(&path)?;
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    // A file of a whole run holds a model too.
    let run = folder.join("run.safetensors");
    trainer(5).save_training(&run)?;
    other.load(&run)?;
    assert_eq!(other.state_dict()?, trainer(5).state_dict()?);
    assert!(message(other.load_training(&path)).contains("no training run"));
    Ok(())
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() -> Result<(), Error> {
    let path = folder("misfits").join("model.safetensors");
    let mut tensors = trainer(1).state_dict()?;
    tensors.retain(|(name, _)| name != "0.bias" && name != "2.bias");
    tensors.push(("head.weight".into(), Tensor::from_f32([1], &[0.0])?));
    tensors[1].1 = Tensor::from_f32([4, 2], &[0.0; 8])?;
    write_tensors(&path, &tensors, ("format", "pt"))?;
    let mut loading = trainer(2);
    let text = message(loading.load(&path));
    for part in [
        "missing: `0.bias` [4]",
        "missing: `2.bias` [2]",
        "surplus: `head.weight` [1]",
        "misshapen: `2.weight` is [4, 2]",
        "[2, 4]",
        "model.safetensors",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert!(!text.contains("`0.weight`"), "{text}");
    assert_eq!(loading.state_dict()?, trainer(2).state_dict()?, "an error changes nothing");
    Ok(())
}

#[test]
fn damaged_and_missing_files_are_named() -> Result<(), Error> {
    let folder = folder("damaged");
    let path = folder.join("model.safetensors");
    trainer(1).save(&path)?;
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 5, 8, 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let text = message(trainer(2).load(&path));
        assert!(text.contains("model.safetensors") && text.contains("damaged"), "{length} bytes: {text}");
    }
    let text = message(trainer(2).load(folder.join("absent.safetensors")));
    assert!(text.contains("absent.safetensors") && text.contains("cannot be read"), "{text}");
    let text = message(trainer(2).save(folder.join("no/such/folder/model.safetensors")));
    assert!(text.contains("cannot be written"), "{text}");
    let unbuilt = Trainer::new(Linear::new(1, 1)).device(Device::cpu());
    assert!(message(unbuilt.save(&path)).contains("build"));
    Ok(())
}

#[test]
fn half_formats_are_converted_and_others_refused() -> Result<(), Error> {
    let path = folder("formats").join("model.safetensors");
    let values = [1.0f32, -0.5, 3.140625];
    let f16: Vec<u8> = [0x3c00u16, 0xb800, 0x4248].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let bf16: Vec<u8> = values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect();
    let view = |dtype, bytes| TensorView::new(dtype, vec![3], bytes).unwrap();
    let file = safetensors::serialize([("a", view(Dtype::F16, &f16)), ("b", view(Dtype::BF16, &bf16))], None).unwrap();
    std::fs::write(&path, file).unwrap();
    for (name, tensor) in read_tensors(&path)?.tensors {
        assert_eq!(tensor.as_f32()?, values, "{name}");
    }
    let whole = [0u8; 24];
    let file =
        safetensors::serialize([("steps", view(Dtype::I64, &whole)), ("a", view(Dtype::F16, &f16))], None).unwrap();
    std::fs::write(&path, file).unwrap();
    let text = message(read_tensors(&path));
    assert!(text.contains("`steps` is I64") && !text.contains("`a`"), "{text}");
    Ok(())
}
