"""EuroLLM 9B as published by the EuroLLM project: a Llama with 42 layers and a vocabulary of 128,000.

    varietas submit --config eurollm_9b --machine mn5 --nodes 100 --run runs/eurollm_9b --config.data.corpus=corpora/euro

It is meant for MareNostrum 5, 100 nodes with 4 H100 each. 4 T tokens are 305 k steps, which take about 16 days at 40 % of peak (by
formula: 56.0 GFLOP per token). We have not run it at this scale. The shape is checked against the published one, and the speed is an
estimate.
"""

from ml_collections import ConfigDict

from varietas.configs import eurollm_1p7b


def get_config() -> ConfigDict:
    c = eurollm_1p7b.get_config()
    with c.unlocked():
        c.model.n_layers = 42
        c.model.d_model = 4096
        c.model.d_ff = 12288
        c.model.n_heads = 32
        c.model.remat = "full"
        c.train.steps = 305_000
        c.train.batch_size = 3200
        c.train.grad_accum = 1  # 8 rows at once on each of 400 devices
    return c
