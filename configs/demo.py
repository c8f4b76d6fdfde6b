"""A small multilingual model on the text that comes with the installation: 33 European languages, 4.6 MB.

    make demo        or        varietas train --config demo --run runs/demo

A server with 2 cores: 5 minutes for 2.0 M tokens, about one pass over the text (`make demo`: 6 to 7). Bits per byte end 17 to 47 %
below the unigram baseline. With so little text a small model learns as much from a token as a large one, so this one is small and
sees more of them.
"""

from ml_collections import ConfigDict

from varietas.configs import base


def get_config(arg: str = "") -> ConfigDict:
    c = base.get_config()
    with c.unlocked():
        c.model.n_heads = 4
        c.model.n_kv_heads = 4
        c.optim.peak_lr = 5e-3
        c.optim.warmup_steps = 40
        c.train.steps = 480
        c.checkpoint.every = 40
    return c
