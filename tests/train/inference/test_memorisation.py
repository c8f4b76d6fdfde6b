"""Exact repetition is the same as being right at every position of a teacher-forced pass, which is computed here without a cache."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.inference.generate import generator
from varietas.train.inference.memorisation import repeated
from varietas.train.inference.network import Network

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128)
PROMPT, TOKENS = 5, 12


def test_what_is_repeated_is_what_a_forward_pass_predicts_token_by_token() -> None:
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])

    @jax.jit
    def likeliest(params: Params, ids: jax.Array) -> jax.Array:
        decoder = bind(graph_and_shapes(CFG)[0], params)
        hidden = decoder(ids, jnp.ones_like(ids), jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape))
        return jnp.argmax(hidden @ decoder.head_DV, axis=-1)

    excerpts = rng.integers(0, 128, (7, PROMPT + TOKENS))
    wanted = [12, 12, 0, 3, 7, 11, 12]  # tokens that follow as the model would write them; then one that differs
    for at in range(PROMPT, PROMPT + TOKENS):
        next_ids = np.asarray(likeliest(params, jnp.asarray(excerpts)))[:, at - 1]
        for row, n in enumerate(wanted):
            excerpts[row, at] = next_ids[row] if at - PROMPT < n else (next_ids[row] + 1) % 128
    done = list[int]()
    model = generator(Network(params, CFG, make_mesh(1, 1, 1, jax.devices()[:1])))
    found = repeated(model, excerpts.tolist(), PROMPT, 128, 3, done.append)
    assert found.tolist() == wanted and done == [3, 6, 7]
