#!/usr/bin/env python3
"""Writes crates/nn-data/data/digits.bin, the digits that wgrad carries, from scikit-learn's copy.

Run it from the repository root with a Python that has scikit-learn and NumPy:

    python3 scripts/make-digits.py

The file is 1,797 label bytes (0 to 9), then 1,797 pictures of 8 x 8 bytes (0 to 16), row by row, in
scikit-learn's order. The script prints the facts that the test in crates/nn-data/src/digits.rs
compares with, so that they come from the source and not from the code under test.
"""

import pathlib

import numpy as np
from sklearn.datasets import load_digits

TARGET = pathlib.Path(__file__).resolve().parent.parent / "crates" / "nn-data" / "data" / "digits.bin"


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash of `data`."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def main() -> None:
    """Writes the file and prints its facts."""
    digits = load_digits()
    images = digits.images.reshape(-1, 64)
    labels = digits.target
    assert images.shape == (1797, 64), images.shape
    assert np.array_equal(images, np.round(images)) and images.min() == 0 and images.max() == 16
    data = labels.astype(np.uint8).tobytes() + images.astype(np.uint8).tobytes()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(data)
    print("bytes", len(data))
    print(f"fnv1a {fnv1a(data):#018x}")
    print("class counts", np.bincount(labels).tolist())
    print("sum of all pixels", int(images.sum()))
    for index in (0, 1000, 1796):
        print("image", index, "label", int(labels[index]), "sum", int(images[index].sum()))
    print("image 0, row 1", images[0].reshape(8, 8)[1].astype(int).tolist())


if __name__ == "__main__":
    main()
