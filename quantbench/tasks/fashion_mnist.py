import gzip
from pathlib import Path
import numpy as np
import torch
def load_split(split):
    stem = {"train":"train","test":"t10k"}[split]
    root = Path("/tmp/fm")
    images = np.frombuffer(gzip.decompress((root / f"{stem}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8).reshape(-1,1,28,28)
    labels = np.frombuffer(gzip.decompress((root / f"{stem}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))
def normalize(photos):
    return (photos.float() / 255.0 - 0.2860) / 0.3530
