"""The model that the training benchmarks share: 8.9 M parameters, the shape of Llama, float32, rows of 256 tokens."""

from ml_collections import ConfigDict

from varietas.configs import base


def get_config() -> ConfigDict:
    c = base.get_config()
    with c.unlocked():
        c.data.embedded_vocab_size = 8192
        c.model.n_layers = 6
        c.model.d_model = 256
        c.model.d_ff = 768
        c.model.n_heads = 8
        c.model.n_kv_heads = 4
        c.model.max_seq_len = 1 << 17  # so that --config.data.seq_len alone is enough for longer rows
        c.model.tied_embeddings = False
        c.train.batch_size = 4
        c.train.steps = 100_000
        c.checkpoint.every = 50
    return c
