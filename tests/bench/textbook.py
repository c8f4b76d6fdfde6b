"""A decoder's training step in plain jax, as one would first write it: scanned layers, all attention scores at once, optax's AdamW."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


def training(config: ConfigDict) -> tuple[Any, Callable[[Any, jax.Array], tuple[Any, jax.Array]], jax.Array]:
    """Returns the state, the jitted step, and a batch of random tokens (B, L)."""
    m, o = config.model, config.optim
    D, F, N, K, V, R = m.d_model, m.d_ff, m.n_heads, m.n_kv_heads, m.vocab_size, m.n_layers
    H, L = m.d_head or D // N, config.data.seq_len
    shapes = {"q": (R, D, N * H), "k": (R, D, K * H), "v": (R, D, K * H), "o": (R, N * H, D), "gate": (R, D, F), "up": (R, D, F)}
    shapes |= {"down": (R, F, D)}
    keys = iter(jax.random.split(jax.random.key(0), 16))
    layers = {name: 0.02 * jax.random.normal(next(keys), shape) for name, shape in shapes.items()}
    layers |= {name: jnp.ones((R, D)) for name in ("attention_norm", "feed_forward_norm")}
    params = {"embedding": 0.02 * jax.random.normal(next(keys), (V, D)), "layers": layers, "norm": jnp.ones(D)}
    if not m.tied_embeddings:
        params["head"] = 0.02 * jax.random.normal(next(keys), (D, V))
    adamw = optax.adamw(o.peak_lr, o.beta1, o.beta2, o.eps, weight_decay=o.weight_decay)
    optimizer = optax.chain(optax.clip_by_global_norm(o.clip_norm), adamw)
    angle = jnp.arange(L)[:, None, None] * frequencies(m.rope_theta, H)
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    causal = jnp.tril(jnp.ones((L, L), bool))

    def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + m.norm_eps) * scale

    def rotate(x: jax.Array) -> jax.Array:
        first, second = jnp.split(x, 2, -1)
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)

    def layer(x: jax.Array, w: dict[str, jax.Array]) -> tuple[jax.Array, None]:
        B = x.shape[0]
        h = norm(x, w["attention_norm"])
        q, k, v = ((h @ w[name]).reshape(B, L, -1, H) for name in "qkv")
        q, k = rotate(q).reshape(B, L, K, N // K, H), rotate(k)
        scores = jnp.where(causal, jnp.einsum("blkgh,bskh->bkgls", q, k) * H**-0.5, -1e30)
        mixed = jnp.einsum("bkgls,bskh->blkgh", jax.nn.softmax(scores), v)
        x = x + mixed.reshape(B, L, N * H) @ w["o"]
        h = norm(x, w["feed_forward_norm"])
        return x + (jax.nn.silu(h @ w["gate"]) * (h @ w["up"])) @ w["down"], None

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        x, _ = jax.lax.scan(layer, params["embedding"][tokens], params["layers"])
        logits = norm(x, params["norm"]) @ params.get("head", params["embedding"].T)
        return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:]).mean()

    @jax.jit
    def step(state: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        params, moments = state
        value, gradients = jax.value_and_grad(loss)(params, tokens)
        updates, moments = optimizer.update(gradients, moments, params)
        return (optax.apply_updates(params, updates), moments), value

    return (params, optimizer.init(params)), step, jax.random.randint(jax.random.key(1), (config.train.batch_size, L), 0, V)


def frequencies(theta: float, H: int) -> jax.Array:
    """Returns the frequencies of rotary positions, (H / 2,)."""
    return theta ** (-jnp.arange(H // 2) / (H // 2))
