//! Tests of the `.npy` reader and writer, against bytes laid out as NumPy lays them out.

use super::*;

/// A file of `version` with `header` (padded as NumPy does) and `data`.
fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let prefix = if version == 1 { 10 } else { 12 };
    let length = (prefix + header.len() + 1).next_multiple_of(64) - prefix;
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    if version == 1 {
        bytes.extend((length as u16).to_le_bytes());
    } else {
        bytes.extend((length as u32).to_le_bytes());
    }
    bytes.extend(format!("{header:<width$}\n", width = length - 1).as_bytes());
    bytes.extend(data);
    bytes
}

fn read(bytes: &[u8]) -> Result<NpyArray, String> {
    NpyArray::from_bytes(bytes, Path::new("folder/x.npy")).map_err(|error| error.to_string())
}

fn message(bytes: &[u8]) -> String {
    let message = read(bytes).unwrap_err();
    assert!(message.starts_with("folder/x.npy: "), "{message}");
    message
}

/// What `numpy.save` of NumPy 2.4 wrote for `numpy.array([[1, -2, 3]], dtype=numpy.int32)`.
fn written_by_numpy() -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(b"{'descr': '<i4', 'fortran_order': False, 'shape': (1, 3), }");
    bytes.resize(127, b' ');
    bytes.push(b'\n');
    bytes.extend([1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0]);
    bytes
}

#[test]
fn reads_and_writes_what_numpy_writes() {
    let array = NpyArray { shape: vec![1, 3], data: NpyData::I32(vec![1, -2, 3]) };
    assert_eq!(read(&written_by_numpy()).unwrap(), array);
    assert_eq!(array.to_bytes().unwrap(), written_by_numpy());
}

#[test]
fn every_type_and_shape_survives_a_round_trip() {
    for data in [
        NpyData::F32(vec![1.5, -0.0, f32::MAX, 1e-40, 3.0, 4.0]),
        NpyData::F64(vec![0.1, -2.0, 3.0, f64::MIN_POSITIVE, 5.0, 6.0]),
        NpyData::U8(vec![0, 1, 127, 128, 254, 255]),
        NpyData::U16(vec![0, 1, 256, 65535, 4, 5]),
        NpyData::U32(vec![0, 1, 65536, u32::MAX, 4, 5]),
        NpyData::I32(vec![0, -1, i32::MIN, i32::MAX, 4, 5]),
        NpyData::I64(vec![0, -1, i64::MIN, i64::MAX, 4, 5]),
    ] {
        for shape in [vec![6], vec![2, 3], vec![1, 2, 3, 1]] {
            let array = NpyArray { shape, data: data.clone() };
            let bytes = array.to_bytes().unwrap();
            assert_eq!(bytes.len() % 64, (bytes.len() - 128) % 64, "data begins at byte 128");
            assert_eq!(read(&bytes).unwrap(), array);
        }
    }
    let single = NpyArray { shape: vec![], data: NpyData::F32(vec![7.0]) };
    assert_eq!(read(&single.to_bytes().unwrap()).unwrap(), single);
    let none = NpyArray { shape: vec![0, 4], data: NpyData::F32(vec![]) };
    assert_eq!(read(&none.to_bytes().unwrap()).unwrap(), none);
}

#[test]
fn versions_2_and_3_and_other_spellings_are_read() {
    let header = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }";
    for version in [1, 2, 3] {
        let array = read(&file(version, header, &[1, 0, 0, 1])).unwrap();
        assert_eq!(array.shape, [2]);
        assert_eq!(array.data, NpyData::U16(vec![1, 256]));
    }
    let header = "{\"shape\":(2L,),\"fortran_order\":True,\"descr\":\"|u1\"}";
    assert_eq!(read(&file(1, header, &[8, 9])).unwrap().data, NpyData::U8(vec![8, 9]));
}

#[test]
fn faults_are_named_with_a_remedy() {
    let header = |descriptor: &str, order: &str, shape: &str| {
        format!("{{'descr': {descriptor}, 'fortran_order': {order}, 'shape': {shape}, }}")
    };
    let with = |descriptor, order, shape, data: &[u8]| message(&file(1, &header(descriptor, order, shape), data));
    assert!(with("'<f4'", "True", "(1, 2)", &[0; 8]).contains("ascontiguousarray"));
    assert!(with("'>f4'", "False", "(2,)", &[0; 8]).contains("big-endian"));
    assert!(with("'|O'", "False", "(2,)", &[0; 8]).contains("Python objects"));
    assert!(with("'<c8'", "False", "(1,)", &[0; 8]).contains("<c8"));
    assert!(with("[('a', '<f4')]", "False", "(2,)", &[0; 8]).contains("named fields"));
    let truncated = with("'<f4'", "False", "(2,)", &[0; 7]);
    assert!(truncated.contains("truncated: 8 bytes") && truncated.contains("7 are"), "{truncated}");
    assert!(with("'<f4'", "False", "(2,)", &[0; 9]).contains("too long"));
    assert!(with("'<f4'", "Maybe", "(2,)", &[0; 8]).contains("fortran_order"));
    assert!(with("'<f4'", "False", "(-2,)", &[0; 8]).contains("shape"));
    let huge = format!("({}, {})", usize::MAX, usize::MAX);
    assert!(with("'<f4'", "False", &huge, &[0; 8]).contains("too large"));
    assert!(message(b"PK\x03\x04").contains("not a .npy file"));
    assert!(message(b"\x93NUMPY\x09\x00\x00\x00").contains("version 9"));
    assert!(message(&written_by_numpy()[..40]).contains("within its header"));
}

#[test]
fn no_beginning_of_a_file_panics() {
    let bytes = written_by_numpy();
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_shape_that_does_not_fit_is_not_written() {
    let array = NpyArray { shape: vec![2, 2], data: NpyData::U8(vec![1, 2, 3]) };
    assert!(matches!(array.to_bytes(), Err(DataError::Argument { .. })));
}

#[test]
fn a_missing_file_is_named() {
    let error = NpyArray::read(Path::new("no/such/file.npy")).unwrap_err().to_string();
    assert!(error.contains("no/such/file.npy") && error.contains(".npy)"), "{error}");
}
