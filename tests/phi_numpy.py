"""phi-1 in NumPy float64, written from section 2.3 of the paper: no JAX, loops where they help."""

import math

import numpy as np


def layer_norm(x, scale, bias, eps):
    x = x - x.mean()
    return x / np.sqrt((x**2).mean() + eps) * scale + bias


def gelu_new(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rotate(vector, position, rotary_dim, theta):
    """Rotate-half: dimension i turns with i + rotary_dim / 2."""
    half = rotary_dim // 2
    out = vector.copy()
    for i in range(half):
        angle = position * theta ** (-2 * i / rotary_dim)
        a, b = vector[i], vector[i + half]
        out[i] = a * math.cos(angle) - b * math.sin(angle)
        out[i + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def phi(config, params, tokens):
    """Logits float64[t, v] of one row of tokens."""
    x = [params["embed"]["table"][token] for token in tokens]
    for layer in range(config.n_layers):
        p = {
            name: {key: value[layer] for key, value in part.items()}
            for name, part in params["blocks"].items()
        }
        norm = p["norm"]
        h = [layer_norm(row, norm["scale"], norm["bias"], config.layer_norm_eps) for row in x]
        heads = (config.n_heads, config.d_model // config.n_heads)
        q, k, v = ([linear(row, p[name]).reshape(heads) for row in h] for name in "qkv")
        turn = (config.rotary_dim, config.rope_theta)
        q = [[rotate(head, t, *turn) for head in row] for t, row in enumerate(q)]
        k = [[rotate(head, t, *turn) for head in row] for t, row in enumerate(k)]
        new = []
        for t in range(len(tokens)):
            mixed = []
            for head in range(config.n_heads):
                scores = np.array([q[t][head] @ k[s][head] for s in range(t + 1)])
                shares = np.exp(scores / math.sqrt(heads[1]))
                shares /= shares.sum()
                mixed.append(sum(shares[s] * v[s][head] for s in range(t + 1)))
            attention = linear(np.concatenate(mixed), p["out"])
            mlp = linear(gelu_new(linear(h[t], p["fc1"])), p["fc2"])
            new.append(x[t] + attention + mlp)
        x = new
    norm = params["final_norm"]
    rows = [layer_norm(row, norm["scale"], norm["bias"], config.layer_norm_eps) for row in x]
    return np.stack([linear(row, params["head"]) for row in rows])
