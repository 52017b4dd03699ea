#!/usr/bin/python3
"""Reference values from PyTorch for the tests: a small random LLaMA under the SoFT loss, every
gradient by autograd in double precision, and AdamW with and without clipping. Shares no code with
strata. Not a test itself: the files it writes lie beside it, and the tests read those.

    /usr/bin/python3 tests/reference/make_gradients.py [FOLDER]      (Debian: python3-torch)

The model (soft_tied.safetensors, soft_untied.safetensors):
    hidden_size 32, intermediate_size 88, num_hidden_layers 4, num_attention_heads 4,
    num_key_value_heads 2, head_dim 8, vocab_size 48, rms_norm_eps 1e-5, rope_theta 10000,
    rotate-half RoPE; tie_word_embeddings true / false
The batch: sequences of 17, 1 and 23 tokens laid end to end (N = 41 rows); each attends only
    within itself and counts its positions from 0.
The loss: exits at depths 1, 3 and 4, each through the shared final norm and head; the mean over the
    exits of the mean cross-entropy over all supervised rows of the batch.

The choices (choices_*.safetensors), each with the weights and the batch of soft_tied or soft_untied
and what the exits have of their own; the loss is the sum over exits of share * (mean cross-entropy
+ lambda * T^2 * mean KL(softmax(teacher / T) || softmax(logits / T))), the teacher being the logits
at depth 4, detached:
    distill   tied; shares .2, .3, .5; lambda .7, T 2
    own       untied; per-exit norms and heads at depths 1 and 3; shares of 1/3
    heads     tied; heads at depths 1 and 3 and the shared norm; shares of 1/3
    bare      untied; no norm at depths 1 and 3; shares 1, 1, 1; the second block left out
    rests     tied; shares .5, 0, .5, as in a step of a curriculum in which an exit rests

All tensors are F32. Weights were rounded to F32 before anything was computed from them, so they
are exact; everything else was computed in double and rounded at the end.
"""
import json
import os
import struct
import sys

import torch
import torch.nn.functional as F

WIDTH, HIDDEN, BLOCKS, HEADS, KV_HEADS, HEAD_SIZE, VOCAB = 32, 88, 4, 4, 2, 8, 48
NORM_EPSILON, ROPE_THETA = 1e-5, 10000.0
LENGTHS = [17, 1, 23]
EXITS = [1, 3, 4]
ADAM_SIZE = 64
LEARNING_RATES = [1e-3, 2e-3, 5e-4]
GRADIENT_SCALES = [1.0, 0.05, 0.4]  # the second stays below the clipping norm


def to_f32(tensor):
    """Rounds to values that F32 holds exactly, kept in double."""
    return tensor.to(torch.float32).to(torch.float64)


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in sorted(tensors.items()):
        size = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in sorted(tensors.items()):
            values = tensor.detach().to(torch.float32).flatten().tolist()
            file.write(struct.pack(f"<{len(values)}f", *values))
    os.replace(path + ".part", path)


def random_weights(tied, generator):
    def normal(*shape, scale, mean=0.0):
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return to_f32(mean + scale * values)

    weights = {"model.embed_tokens.weight": normal(VOCAB, WIDTH, scale=0.3)}
    for block in range(BLOCKS):
        name = f"model.layers.{block}."
        for part, rows, cols in [("self_attn.q_proj", HEADS * HEAD_SIZE, WIDTH),
                                 ("self_attn.k_proj", KV_HEADS * HEAD_SIZE, WIDTH),
                                 ("self_attn.v_proj", KV_HEADS * HEAD_SIZE, WIDTH),
                                 ("self_attn.o_proj", WIDTH, HEADS * HEAD_SIZE),
                                 ("mlp.gate_proj", HIDDEN, WIDTH),
                                 ("mlp.up_proj", HIDDEN, WIDTH),
                                 ("mlp.down_proj", WIDTH, HIDDEN)]:
            weights[name + part + ".weight"] = normal(rows, cols, scale=cols ** -0.5)
        for part in ["input_layernorm", "post_attention_layernorm"]:
            weights[name + part + ".weight"] = normal(WIDTH, scale=0.1, mean=1.0)
    weights["model.norm.weight"] = normal(WIDTH, scale=0.1, mean=1.0)
    if not tied:
        weights["lm_head.weight"] = normal(VOCAB, WIDTH, scale=0.3)
    return weights


def rms_norm(x, weight):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON)


def rotate(x):
    """RoPE on x (rows, heads, head size): pairs (j, j + size/2), row t at position t."""
    half = x.shape[-1] // 2
    frequency = ROPE_THETA ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[0], dtype=torch.float64)[:, None, None] * frequency
    low, high = x[..., :half], x[..., half:]
    return torch.cat([low * angle.cos() - high * angle.sin(),
                      high * angle.cos() + low * angle.sin()], -1)


def attention(x, weights, name):
    """x: the rows of one sequence, (T, width)."""
    count = x.shape[0]
    q = rotate((x @ weights[name + "q_proj.weight"].T).view(count, HEADS, HEAD_SIZE))
    k = rotate((x @ weights[name + "k_proj.weight"].T).view(count, KV_HEADS, HEAD_SIZE))
    v = (x @ weights[name + "v_proj.weight"].T).view(count, KV_HEADS, HEAD_SIZE)
    k = k.repeat_interleave(HEADS // KV_HEADS, 1)
    v = v.repeat_interleave(HEADS // KV_HEADS, 1)
    scores = torch.einsum("qhs,khs->hqk", q, k) * HEAD_SIZE ** -0.5
    future = torch.ones(count, count, dtype=torch.bool).triu(1)
    attended = torch.einsum("hqk,khs->qhs", scores.masked_fill(future, float("-inf")).softmax(-1), v)
    return attended.reshape(count, HEADS * HEAD_SIZE) @ weights[name + "o_proj.weight"].T


def mlp(x, weights, name):
    gate = F.silu(x @ weights[name + "gate_proj.weight"].T)
    return (gate * (x @ weights[name + "up_proj.weight"].T)) @ weights[name + "down_proj.weight"].T


def exit_logits(x, weights, depth, bare):
    """x (N, width): what the exit at `depth` says, through norm and head of its own if it has them."""
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    head = weights.get(f"strata.exits.{depth}.lm_head.weight", head)
    norm = weights.get(f"strata.exits.{depth}.norm.weight", weights["model.norm.weight"])
    return (x if depth in bare else rms_norm(x, norm)) @ head.T


def logits_by_depth(tokens, lengths, weights, blocks, bare=(), skip=()):
    """tokens (N). Returns the logits (N, vocabulary) after 1 .. blocks blocks, by depth. No norm at
    the depths in `bare`; blocks in `skip` are left out."""
    x = weights["model.embed_tokens.weight"][tokens]
    logits = {}
    for block in range(blocks):
        if block in skip:
            logits[block + 1] = exit_logits(x, weights, block + 1, bare)
            continue
        name = f"model.layers.{block}."
        h = rms_norm(x, weights[name + "input_layernorm.weight"])
        x = x + torch.cat([attention(rows, weights, name + "self_attn.")
                           for rows in h.split(lengths)])
        h = rms_norm(x, weights[name + "post_attention_layernorm.weight"])
        x = x + mlp(h, weights, name + "mlp.")
        logits[block + 1] = exit_logits(x, weights, block + 1, bare)
    return logits


def random_batch(generator):
    """Tokens (N) and targets (N): the next token of the sequence, or -1 where not supervised."""
    tokens, targets = [], []
    for length in LENGTHS:
        ids = torch.randint(VOCAB, (length + 1,), generator=generator)
        supervised = torch.rand(length, generator=generator) < 0.6
        supervised[-1] = True  # the sequence of one token has a loss, too
        tokens.append(ids[:-1])
        targets.append(torch.where(supervised, ids[1:], torch.full_like(ids[1:], -1)))
    return torch.cat(tokens), torch.cat(targets)


def soft_reference(tied):
    generator = torch.Generator().manual_seed(20240 + tied)
    weights = random_weights(tied, generator)
    tokens, targets = random_batch(generator)
    for weight in weights.values():
        weight.requires_grad_(True)
    logits = logits_by_depth(tokens, LENGTHS, weights, BLOCKS)
    losses = torch.stack([F.cross_entropy(logits[d], targets, ignore_index=-1) for d in EXITS])
    losses.mean().backward()

    tensors = dict(weights)
    tensors.update({"grad." + name: weight.grad for name, weight in weights.items()})
    tensors.update({f"logits.{depth}": logits[depth] for depth in EXITS})
    tensors["tokens"] = tokens[:, None]
    tensors["targets"] = targets[:, None]
    tensors["sequence_lengths"] = torch.tensor(LENGTHS)[:, None]
    tensors["loss_per_exit"] = losses[:, None]
    tensors["loss"] = losses.mean().view(1, 1)
    return tensors


def own_modules(norms, heads, generator):
    """Norms and heads of the exits at depths 1 and 3."""
    weights = {}
    for depth in EXITS[:-1]:
        if norms:
            gain = 1 + 0.1 * torch.randn(WIDTH, generator=generator, dtype=torch.float64)
            weights[f"strata.exits.{depth}.norm.weight"] = to_f32(gain)
        if heads:
            head = 0.3 * torch.randn(VOCAB, WIDTH, generator=generator, dtype=torch.float64)
            weights[f"strata.exits.{depth}.lm_head.weight"] = to_f32(head)
    return weights


def divergence(logits, teacher, targets, temperature):
    """T^2 times the mean over supervised rows of KL(softmax(teacher / T) || softmax(logits / T))."""
    rows = targets >= 0
    q = F.log_softmax(logits[rows] / temperature, -1)
    p = F.log_softmax(teacher[rows].detach() / temperature, -1)
    return temperature ** 2 * (p.exp() * (p - q)).sum(-1).mean()


def choices_reference(tied, shares, norms=False, heads=False, bare=(), skip=(), share=0.0,
                      temperature=1.0):
    generator = torch.Generator().manual_seed(20240 + tied)
    weights = random_weights(tied, generator)
    tokens, targets = random_batch(generator)
    own = own_modules(norms, heads, torch.Generator().manual_seed(5))
    weights.update(own)
    for weight in weights.values():
        weight.requires_grad_(True)
    logits = logits_by_depth(tokens, LENGTHS, weights, BLOCKS, bare, skip)
    losses = [F.cross_entropy(logits[d], targets, ignore_index=-1) for d in EXITS]
    kl = [divergence(logits[d], logits[EXITS[-1]], targets, temperature) for d in EXITS[:-1]]
    terms = [loss + share * term for loss, term in zip(losses, kl + [torch.zeros(())])]
    sum(s * term for s, term in zip(shares, terms)).backward()
    tensors = dict(own)
    for name, weight in weights.items():  # a block that is left out has no gradient
        grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        tensors["grad." + name] = grad
    tensors["loss_per_exit"] = torch.stack(losses)[:, None]
    tensors["divergence_per_exit"] = torch.stack(kl)[:, None]
    return tensors


def adamw_steps(start, gradients, clip):
    """The parameter after each step, and the gradient's norm before clipping."""
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    after, norms = [], []
    for gradient, rate in zip(gradients, LEARNING_RATES):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = gradient.clone()
        norms.append(gradient.norm())
        if clip:
            torch.nn.utils.clip_grad_norm_([parameter], 1.0)
        optimizer.step()
        after.append(parameter.detach().clone())
    return after, torch.stack(norms)[:, None]


def adamw_reference():
    generator = torch.Generator().manual_seed(7)
    start = to_f32(torch.randn(ADAM_SIZE, generator=generator, dtype=torch.float64))
    gradients = [to_f32(scale * torch.randn(ADAM_SIZE, generator=generator, dtype=torch.float64))
                 for scale in GRADIENT_SCALES]
    plain, norms = adamw_steps(start, gradients, clip=False)
    clipped, _ = adamw_steps(start, gradients, clip=True)
    tensors = {"p0": start, "norms": norms, "learning_rates": torch.tensor(LEARNING_RATES)[:, None]}
    for step in range(len(gradients)):
        tensors[f"g{step + 1}"] = gradients[step]
        tensors[f"p{step + 1}"] = plain[step]
        tensors[f"clipped.p{step + 1}"] = clipped[step]
    return tensors


def main():
    if len(sys.argv) > 2:
        sys.exit("usage: make_gradients.py [FOLDER]")
    folder = sys.argv[1] if len(sys.argv) == 2 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    third = [1 / 3] * 3
    for name, tensors in [
            ("soft_tied", soft_reference(True)), ("soft_untied", soft_reference(False)),
            ("choices_distill", choices_reference(True, [.2, .3, .5], share=.7, temperature=2.0)),
            ("choices_own", choices_reference(False, third, norms=True, heads=True)),
            ("choices_heads", choices_reference(True, third, heads=True)),
            ("choices_bare", choices_reference(False, [1, 1, 1], bare=(1, 3), skip=(1,))),
            ("choices_rests", choices_reference(True, [.5, 0, .5])),
            ("adamw", adamw_reference())]:
        write_safetensors(os.path.join(folder, name + ".safetensors"), tensors)


if __name__ == "__main__":
    main()
