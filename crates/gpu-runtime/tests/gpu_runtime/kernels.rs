//! Reflection of shader files, specialisation, and packing of parameter blocks.

use crate::common::{ADD_TO, SCALE, kernel};
use crate::reflect::{reflect, resolve_includes};
use gpu_runtime::{BindingKind, Error, Words, shader, shaders};

const BLOCK: &str = "
const WIDTH: u32 = 64; // lanes
const ROWS = WIDTH / 32u;
struct Parameters { offset: u32, sizes: array<vec4<u32>, 2>, scale: f32, shift: i32, extra: vec4<u32>, last: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> parameters: Parameters;
@compute @workgroup_size(WIDTH, ROWS)
fn block(@builtin(local_invocation_index) i: u32) {
    y[i] = parameters.scale * f32(parameters.sizes[0].x + parameters.last);
}
";

#[test]
fn reflects_bindings_and_block() {
    let scale = kernel("scale", SCALE);
    let kinds: Vec<_> = scale.bindings.iter().map(|binding| (binding.name.as_ref(), binding.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("x", BindingKind::Read),
            ("y", BindingKind::ReadWrite),
            ("parameters", BindingKind::Parameters),
            ("step", BindingKind::StepScalars)
        ]
    );
    assert_eq!((scale.workgroup_size, scale.parameter_bytes), ([64, 1, 1], 16));
    let block = kernel("block", BLOCK);
    assert_eq!(block.workgroup_size, [64, 2, 1]);
    let fields: Vec<_> = block.fields.iter().map(|field| (field.name.as_ref(), field.offset, field.words)).collect();
    // By the layout rules of WGSL: arrays and vec4 are aligned to 16.
    let expected =
        [("offset", 0, 1), ("sizes", 16, 8), ("scale", 48, 1), ("shift", 52, 1), ("extra", 64, 4), ("last", 80, 1)];
    assert_eq!(fields, expected);
    assert_eq!(block.parameter_bytes, 96);
    assert_eq!(kernel("add_to", ADD_TO).parameter_bytes, 0);
}

#[test]
fn refuses_shaders_that_break_the_conventions() {
    let refusals = [
        (SCALE.replace("fn scale", "fn other"), "entry point is \"other\""),
        (SCALE.replace("@binding(1)", "@binding(7)"), "expected group 0"),
        (SCALE.replace("> step", "> steps").replace("step[0]", "steps[0]"), "\"steps\" is neither"),
        (SCALE.replace("array<vec4<u32>, 4>", "array<vec4<u32>, 5>"), "must be array<vec4<u32>, 4>"),
        (
            SCALE.replace("count: u32", "count: vec2<u32>").replace("parameters.count)", "parameters.count.x)"),
            "\"count\" must be",
        ),
        (SCALE.replace("array<f32>", "array<f99>"), "f99"),
        (SCALE.replace("parameters.factor *", "parameters.count *"), "scale"),
        (format!("{SCALE}@compute @workgroup_size(1) fn second() {{}}"), "2 entry points"),
    ];
    for (text, why) in refusals {
        let message = reflect("scale", &text).unwrap_err();
        assert!(message.contains(why), "expected {why:?} in: {message}");
    }
}

#[test]
fn includes_each_piece_once() {
    let folder = std::env::temp_dir().join(format!("gpu-runtime-includes-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("shared")).unwrap();
    std::fs::write(folder.join("shared/base.wgsl"), "fn base() {}\n").unwrap();
    std::fs::write(folder.join("shared/upper.wgsl"), "//!include shared/base.wgsl\nfn upper() {}\n").unwrap();
    let text = "//!include shared/upper.wgsl\n//!include shared/base.wgsl\nfn own() {}\n";
    let mut read = Vec::new();
    let resolved = resolve_includes(text, &folder, &mut read).unwrap();
    let missing = resolve_includes("//!include shared/none.wgsl", &folder, &mut Vec::new()).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(resolved, "fn base() {}\nfn upper() {}\nfn own() {}\n");
    assert_eq!(read.len(), 2);
    assert!(missing.contains("none.wgsl"), "{missing}");
}

#[test]
fn specialises_constants_and_workgroup_size() {
    let block = kernel("block", BLOCK);
    let wide = block.specialise(&[("WIDTH", 128)]).unwrap();
    assert!(wide.source.contains("const WIDTH: u32 = 128; // lanes"));
    assert_eq!(wide.workgroup_size, [128, 4, 1]);
    assert_eq!(reflect("block", &wide.source).unwrap().workgroup_size, wide.workgroup_size);
    let fault = block.specialise(&[("HEIGHT", 1)]).unwrap_err().to_string();
    assert!(fault.starts_with("internal: ") && fault.contains("HEIGHT") && fault.contains("block"), "{fault}");
    assert!(matches!(block.specialise(&[("WIDTH", 0)]), Err(Error::Internal(_))));
}

#[test]
fn packs_every_field_once() {
    let block = kernel("block", BLOCK);
    let sizes = [7u32, 8, 9];
    let extra = [1u32, 2, 3, 4];
    let good: Vec<(&str, Words)> = vec![
        ("last", 5u32.into()),
        ("sizes", (&sizes).into()),
        ("shift", (-2i32).into()),
        ("scale", 1.5f32.into()),
        ("extra", (&extra).into()),
        ("offset", 3u32.into()),
    ];
    let packed = block.pack(&good).unwrap();
    let words: Vec<u32> =
        packed.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    let mut expected = [0u32; 24];
    expected[0] = 3;
    expected[4..7].copy_from_slice(&sizes);
    expected[12] = 1.5f32.to_bits();
    expected[13] = u32::MAX - 1;
    expected[16..20].copy_from_slice(&extra);
    expected[20] = 5;
    assert_eq!(words, expected);

    let fault = |parameters: &[(&str, Words)]| match block.pack(parameters) {
        Err(Error::Internal(message)) => message,
        other => panic!("expected an internal error, got {other:?}"),
    };
    assert!(fault(&good[1..]).contains("\"last\" of kernel \"block\" is not given"));
    assert!(
        fault(&[&good[..], &[("last", 1u32.into())]].concat()).contains("\"last\" of kernel \"block\" is given twice")
    );
    assert!(fault(&[("first", 1u32.into())]).contains("\"first\" of kernel \"block\" does not exist"));
    assert!(fault(&[("extra", (&[0u32; 5]).into())]).contains("has 4 words, but was given 5"));
    assert!(fault(&[("extra", 1u32.into())]).contains("has 4 words"), "a scalar for a vector is a mistake");
    assert!(fault(&[("last", (&[1u32]).into())]).contains("has 1 words"), "a slice for a scalar is a mistake");
}

#[test]
fn the_table_of_shaders_agrees_with_their_text() {
    for kernel in shaders() {
        let facts = reflect(&kernel.name, &kernel.source).unwrap();
        assert_eq!(facts.workgroup_size, kernel.workgroup_size, "{}", kernel.name);
        assert_eq!(facts.workgroup_bytes, kernel.workgroup_bytes, "{}", kernel.name);
        assert_eq!(facts.bindings.len(), kernel.bindings.len(), "{}", kernel.name);
        assert_eq!(facts.parameter_bytes, kernel.parameter_bytes, "{}", kernel.name);
        assert_eq!(kernel.specialise(&[]).as_ref(), Ok(kernel), "{}: size by text and by naga", kernel.name);
        assert_eq!(shader(&kernel.name).unwrap(), kernel);
    }
    assert!(matches!(shader("no such shader"), Err(Error::UnknownName { .. })));
}
