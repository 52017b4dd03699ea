#!/usr/bin/python3
"""Reference values from PyTorch for LLaMA's relatives: small random models of which each has what the
plain one of make_gradients.py has not, under the SoFT loss, every gradient by autograd in double
precision. Shares no code with strata. Not a test itself: the files it writes lie beside it.

    /usr/bin/python3 tests/reference/make_kinds.py [FOLDER]      (Debian: python3-torch)

All (kind_*.safetensors): hidden_size 24, intermediate_size 40, num_hidden_layers 2,
num_attention_heads 4, num_key_value_heads 2, vocab_size 48, rms_norm_eps 1e-5.
    qwen2    head_dim 8, biases of q, k and v, rope_theta 1e6, tied
    llama3   head_dim 12 (so that 4 heads are wider than the model), rope_theta 200 with scaling
             llama3: factor 8, low 1, high 4, original 128, which leaves two pairs of six as they
             are, changes two, and divides two by the factor; untied
    biases   head_dim 8, biases of all seven projections, rope_theta 10000 scaled linearly by 2.5;
             untied
    mistral  head_dim 8, rope_theta 10000, a window of 5 keys; untied
    qwen3    head_dim 12, q and k normed head by head before they turn, rope_theta 1e6; tied
The batch is that of make_gradients.py: sequences of 17, 1 and 23 tokens, exits at depths 1 and 2,
the loss the mean over exits of the mean cross-entropy over supervised rows.

Attention is written as one sum over the keys that a row may see, RoPE as a product of complex
numbers, so that neither shares a way of thinking with the kernels.
"""
import math
import os
import sys

import torch
import torch.nn.functional as F

from make_gradients import LENGTHS, VOCAB, random_batch, to_f32, write_safetensors

WIDTH, HIDDEN, BLOCKS, HEADS, KV_HEADS = 24, 40, 2, 4, 2
EXITS = [1, 2]
NORM_EPSILON = 1e-5

KINDS = {
    "qwen2": dict(size=8, theta=1e6, tied=True, biased=("q", "k", "v")),
    "llama3": dict(size=12, theta=200.0, llama3=(8.0, 1.0, 4.0, 128.0)),
    "biases": dict(size=8, theta=1e4, linear=2.5,
                   biased=("q", "k", "v", "o", "gate", "up", "down")),
    "mistral": dict(size=8, theta=1e4, window=5),
    "qwen3": dict(size=12, theta=1e6, tied=True, normed=True),
}


def projections(size):
    """Short name: full name, outputs, inputs."""
    return {"q": ("self_attn.q_proj", HEADS * size, WIDTH),
            "k": ("self_attn.k_proj", KV_HEADS * size, WIDTH),
            "v": ("self_attn.v_proj", KV_HEADS * size, WIDTH),
            "o": ("self_attn.o_proj", WIDTH, HEADS * size),
            "gate": ("mlp.gate_proj", HIDDEN, WIDTH),
            "up": ("mlp.up_proj", HIDDEN, WIDTH),
            "down": ("mlp.down_proj", WIDTH, HIDDEN)}


def random_weights(kind, generator):
    def normal(*shape, scale, mean=0.0):
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return to_f32(mean + scale * values)

    weights = {"model.embed_tokens.weight": normal(VOCAB, WIDTH, scale=0.3),
               "model.norm.weight": normal(WIDTH, scale=0.1, mean=1.0)}
    for block in range(BLOCKS):
        name = f"model.layers.{block}."
        for short, (full, rows, cols) in projections(kind["size"]).items():
            weights[name + full + ".weight"] = normal(rows, cols, scale=cols ** -0.5)
            if short in kind.get("biased", ()):
                weights[name + full + ".bias"] = normal(rows, scale=0.3)
        for part in ["input_layernorm", "post_attention_layernorm"]:
            weights[name + part + ".weight"] = normal(WIDTH, scale=0.1, mean=1.0)
        for part in ["q_norm", "k_norm"] if kind.get("normed") else []:
            weights[name + f"self_attn.{part}.weight"] = normal(kind["size"], scale=0.3, mean=1.0)
    if not kind.get("tied"):
        weights["lm_head.weight"] = normal(VOCAB, WIDTH, scale=0.3)
    return weights


def frequency(kind, j):
    plain = kind["theta"] ** (-2 * j / kind["size"])
    if "linear" in kind:
        return plain / kind["linear"]
    if "llama3" not in kind:
        return plain
    factor, low, high, original = kind["llama3"]
    wavelength = 2 * math.pi / plain
    if wavelength < original / high:
        return plain
    if wavelength > original / low:
        return plain / factor
    smooth = (original / wavelength - low) / (high - low)
    return (1 - smooth) * plain / factor + smooth * plain


def turn(x, kind):
    """x (T, heads, size): row t's pairs (j, j + size/2) as complex numbers times e^(i t f_j)."""
    half = kind["size"] // 2
    frequencies = torch.tensor([frequency(kind, j) for j in range(half)], dtype=torch.float64)
    angles = torch.arange(x.shape[0], dtype=torch.float64)[:, None] * frequencies
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
        torch.ones_like(angles), angles)[:, None, :]
    return torch.cat([turned.real, turned.imag], -1)


def linear(x, weights, name):
    y = x @ weights[name + ".weight"].T
    return y + weights[name + ".bias"] if name + ".bias" in weights else y


def attention(x, weights, name, kind):
    """x (T, width): one sequence, row after row."""
    count, size = x.shape[0], kind["size"]
    q = linear(x, weights, name + "q_proj").view(count, HEADS, size)
    k = linear(x, weights, name + "k_proj").view(count, KV_HEADS, size)
    if kind.get("normed"):
        q = norm(q, weights[name + "q_norm.weight"])
        k = norm(k, weights[name + "k_norm.weight"])
    q, k = turn(q, kind), turn(k, kind)
    v = linear(x, weights, name + "v_proj").view(count, KV_HEADS, size)
    rows = []
    for t in range(count):
        first = max(0, t + 1 - kind.get("window", count))
        heads = []
        for h in range(HEADS):
            group = h // (HEADS // KV_HEADS)
            scores = k[first:t + 1, group] @ q[t, h] / math.sqrt(size)
            heads.append(scores.softmax(0) @ v[first:t + 1, group])
        rows.append(torch.cat(heads))
    return linear(torch.stack(rows), weights, name + "o_proj")


def norm(x, weight):
    return weight * x / (x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON).sqrt()


def logits_by_depth(tokens, weights, kind):
    x = weights["model.embed_tokens.weight"][tokens]
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    logits = {}
    for block in range(BLOCKS):
        name = f"model.layers.{block}."
        h = norm(x, weights[name + "input_layernorm.weight"])
        x = x + torch.cat([attention(rows, weights, name + "self_attn.", kind)
                           for rows in h.split(LENGTHS)])
        h = norm(x, weights[name + "post_attention_layernorm.weight"])
        gate, up = (linear(h, weights, f"{name}mlp.{part}_proj") for part in ("gate", "up"))
        x = x + linear(gate * torch.sigmoid(gate) * up, weights, name + "mlp.down_proj")
        logits[block + 1] = norm(x, weights["model.norm.weight"]) @ head.T
    return logits


def reference(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = random_weights(kind, generator)
    tokens, targets = random_batch(generator)
    for weight in weights.values():
        weight.requires_grad_(True)
    logits = logits_by_depth(tokens, weights, kind)
    losses = torch.stack([F.cross_entropy(logits[d], targets, ignore_index=-1) for d in EXITS])
    losses.mean().backward()
    tensors = dict(weights)
    tensors.update({"grad." + name: weight.grad for name, weight in weights.items()})
    tensors.update({f"logits.{depth}": logits[depth] for depth in EXITS})
    tensors["tokens"] = tokens[:, None]
    tensors["targets"] = targets[:, None]
    tensors["loss_per_exit"] = losses[:, None]
    return tensors


def main():
    if len(sys.argv) > 2:
        sys.exit("usage: make_kinds.py [FOLDER]")
    folder = sys.argv[1] if len(sys.argv) == 2 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    for seed, (name, kind) in enumerate(KINDS.items()):
        write_safetensors(os.path.join(folder, f"kind_{name}.safetensors"), reference(kind, 9100 + seed))


if __name__ == "__main__":
    main()
