"""EuroLLM 1.7B as published by the EuroLLM project: a Llama with 24 layers and a vocabulary of 128,000.

    varietas submit --config eurollm_1p7b --machine mn5 --nodes 16 --run runs/eurollm_1p7b --config.data.corpus=corpora/euro

It is meant for MareNostrum 5, 16 nodes with 4 H100 each. 4 T tokens are 1.0 M steps, which take about 18 days at 40 % of peak (by formula:
9.6 GFLOP per token). We have not run it at this scale. The shape is checked against the published one, the speed is an estimate, and
docs/scale.md lists the memory and the communication of its compiled step.
"""

from ml_collections import ConfigDict

from varietas.configs import base


def get_config() -> ConfigDict:
    c = base.get_config()
    with c.unlocked():
        c.data.seq_len = 4096
        c.model.n_layers = 24
        c.model.d_model = 2048
        c.model.d_ff = 5632
        c.model.n_heads = 16
        c.model.n_kv_heads = 8
        c.model.max_seq_len = 4096
        c.model.tied_embeddings = False
        c.model.dtype = "bfloat16"
        c.model.remat = "dots"
        c.model.loss_chunk = 512
        c.optim.peak_lr = 3e-4
        c.optim.schedule = "wsd"
        c.optim.warmup_steps = 2000
        c.optim.decay_fraction = 0.1
        c.train.steps = 1_000_000
        c.train.batch_size = 1024
        c.train.grad_accum = 2  # 8 rows at once on each of 64 devices: 38 of 79 GiB, enough work to overlap communication (docs/scale.md)
        c.checkpoint.every = 1000
        c.eval.every = 5000
    return c
