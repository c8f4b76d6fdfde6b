"""EuroLLM 9B, as published by the EuroLLM project: a Llama of 42 layers with a vocabulary of 128,000.

    varietas train --config eurollm_9b --run runs/eurollm_9b --config.data.corpus=corpora/euro

MareNostrum 5, 100 nodes of 4 H100. 4 T tokens are 305 k steps: at 40 % of peak about 16 days (by formula: 56.0 GFLOP a token).
Several nodes need the launcher for Slurm that is still to come: today one process is one run.
Not run by us at this scale: the shape is checked against the published one, the speed is an estimate.
"""

from ml_collections import ConfigDict

from varietas.configs import eurollm_1p7b


def get_config(arg: str = "") -> ConfigDict:
    c = eurollm_1p7b.get_config()
    with c.unlocked():
        c.model.n_layers = 42
        c.model.d_model = 4096
        c.model.d_ff = 12288
        c.model.n_heads = 32
        c.model.remat = "full"
        c.train.steps = 305_000
        c.train.batch_size = 3200
        c.train.grad_accum = 1  # 8 rows on each of 400 devices
    return c
