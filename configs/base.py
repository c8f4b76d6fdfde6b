"""Every field of a config, once. Other configs are this one with a few lines changed.

As it stands it is a small model for a laptop; see demo.py for one worth looking at.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    c = ConfigDict()
    c.seed = 0  # of initial parameters and of the order of documents

    c.data = ConfigDict()
    c.data.corpus = ""  # folder made by `varietas prepare`, or several ("corpora/web,corpora/wiki", each a source of the mixture);
    # empty: the embedded default, with a tokenizer of model.vocab_size
    c.data.seq_len = 256  # tokens of a row
    c.data.workers = 0  # processes that read ahead; 0: a thread of this one
    c.data.mixture = ConfigDict()
    c.data.mixture.alpha = 0.5  # a language's share of tokens ∝ (its tokens in the corpus) ** alpha; 1: as they come, 0: all alike
    c.data.mixture.weights = ""  # explicit shares instead, "ces_Latn:2, mlt_Latn:1"; languages not named are left out
    c.data.mixture.strategy = "alpha"  # or unimax: as even as can be, but nothing more than max_epochs times (Chung et al., 2023)
    c.data.mixture.max_epochs = 4.0  # unimax: how often a language may be repeated
    c.data.mixture.budget = 0  # unimax: tokens to be spread; 0: those of train.steps, as they are when the run begins
    c.data.mixture.sources = ""  # "wiki:3, web:1": how often tokens of a source are seen, beside the other; not named: 1
    c.data.mixture.where = ""  # documents wanted, by signals of the index: "quality >= 0.8 and robots != false"
    c.data.mixture.phases = ConfigDict()  # name -> begin (token of the run), ramp (tokens), and what of the above is other from there on

    c.clean = ConfigDict()  # what `varietas prepare --config` does to text; training asks nothing of it
    c.clean.opt_outs = True  # leave out what robots.txt or a reservation of rights (TDM) on the page excludes
    c.clean.verdicts = False  # leave out what the collection itself marks as not to be kept (HPLT's `filter`)
    c.clean.unicode = False  # NFC, mojibake undone, line ends as \n, no control characters
    c.clean.language = False  # leave out texts that are surely in another language than their label says
    c.clean.min_chars = 0  # leave out texts with fewer characters
    c.clean.rules = False  # leave out texts that are odd by Gopher's rules and for their language (data/clean.py: RULES)
    c.clean.pii = "keep"  # e-mail addresses, phone, bank and personal numbers: keep, mask, drop (the whole text)
    c.clean.duplicates = "keep"  # keep, exact (one of each), near (MinHash: also one of those that are nearly the same)
    c.clean.overlap = False  # leave out texts that share 13 words in a row with text that evaluates
    c.clean.overlap_text = ""  # files of such text, as --input takes them, besides what `evaluate` uses; set apart by spaces

    c.model = ConfigDict()
    c.model.vocab_size = 4096  # V, pieces; at least the tokenizer's
    c.model.n_layers = 4  # R
    c.model.d_model = 128  # D
    c.model.d_ff = 384  # F
    c.model.n_heads = 8  # N, query heads
    c.model.n_kv_heads = 8  # K, key and value heads; divides n_heads
    c.model.d_head = 0  # H; 0: d_model / n_heads
    c.model.max_seq_len = 256  # context the model is made for, tokens
    c.model.rope_theta = 10000.0  # base of the rotary frequencies
    c.model.norm_eps = 1e-5  # added to the mean square in RMSNorm
    c.model.init_std = 0.02  # of initial weights; output matrices of a layer: divided by sqrt(2 n_layers)
    c.model.tied_embeddings = True  # the output matrix is the embedding
    c.model.qk_norm = False  # RMSNorm on queries and keys of each head
    c.model.dtype = "float32"  # of activations and products: float32 or bfloat16; parameters are float32
    c.model.remat = "none"  # what the backward pass recomputes: none, dots (all but products with weights), full
    c.model.attention = "auto"  # auto, blocks, or cudnn (NVIDIA GPUs)
    c.model.loss_chunk = 256  # positions of each row whose logits are held at once

    c.optim = ConfigDict()
    c.optim.peak_lr = 3e-3  # highest learning rate
    c.optim.schedule = "cosine"  # after warm-up: cosine, wsd (constant, then linear decay), constant
    c.optim.warmup_steps = 20  # of linear warm-up
    c.optim.decay_fraction = 0.2  # wsd: the part of all steps that decays
    c.optim.final_lr_fraction = 0.1  # last learning rate / peak_lr
    c.optim.beta1 = 0.9  # AdamW
    c.optim.beta2 = 0.95  # AdamW
    c.optim.eps = 1e-8  # AdamW
    c.optim.weight_decay = 0.1  # times the learning rate; matrices only
    c.optim.clip_norm = 1.0  # largest global gradient norm
    c.optim.z_loss = 1e-4  # weight of log(Z)² in the loss

    c.mesh = ConfigDict()  # devices along each axis; -1: those that are left
    c.mesh.data = -1  # replicas of the parameters; the batch is split
    c.mesh.fsdp = -1  # parameters and batch are split; -1 beside data=-1: as far as each device keeps 256 columns of d_model
    c.mesh.tensor = 1  # heads, feed-forward and vocabulary are split

    c.train = ConfigDict()
    c.train.steps = 200  # optimiser steps in all
    c.train.batch_size = 16  # rows a step, whatever the number of devices
    c.train.grad_accum = 1  # parts of a batch that are worked through one after the other, to save memory

    c.checkpoint = ConfigDict()
    c.checkpoint.every = 100  # steps; 0: at the end only
    c.checkpoint.keep = 3  # how many stay

    c.eval = ConfigDict()
    c.eval.every = 0  # steps between evaluations by language; 0: none while training
    return c.lock()
