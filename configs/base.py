"""Every field of a config, with its default value. Other configs start from this one and change a few fields.

The defaults describe a small model for a laptop; demo.py has a model worth looking at. The comments of `model` begin with the dimension
letter that stands for a size in the code, as in D for d_model.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.seed = 0  # seed of the initial parameters and of the order of documents

    c.data = ConfigDict()
    # Folder made by `varietas prepare`, or several folders with commas between them ("corpora/web,corpora/wiki"), each of which becomes a
    # source of the mixture; "": the text that is installed with Varietas. A folder that exists may have commas in its own name.
    c.data.corpus = ""
    c.data.embedded_vocab_size = 4096  # pieces of the tokenizer that is trained for the installed text; not used with another corpus
    c.data.seq_len = 256  # tokens of a row; at most model.max_seq_len
    c.data.workers = 0  # worker processes that read batches ahead; 0: a thread of the training process does it
    # What to do with a document whose bytes are damaged: stop (end the run and name it), skip (leave padding in its place, and record it).
    c.data.on_corrupt = "stop"
    c.data.mixture = ConfigDict()
    c.data.mixture.alpha = 0.5  # share of a language ∝ (its tokens in the corpus) ** alpha; 1: proportional to size, 0: equal shares
    # Explicit shares instead of those of the strategy: "ces_Latn:2, mlt_Latn:1". Languages that are not named are left out; "": none.
    c.data.mixture.weights = ""
    # How the share of each language is chosen: "alpha" (see there), or "unimax": shares as even as possible, with no language read more
    # than max_epochs times (Chung et al., 2023).
    c.data.mixture.strategy = "alpha"
    c.data.mixture.max_epochs = 4.0  # for unimax: how many times a language may be read at most
    c.data.mixture.budget = 0  # for unimax: tokens to distribute over the languages; 0: the tokens of train.steps when the run begins
    # How often tokens of a source are read, relative to other sources: "wiki:3, web:1". A source that is not named has 1; "": all have 1.
    c.data.mixture.sources = ""
    # Which documents are read, by signals of the index: "quality >= 0.8 and robots != false"; "": all.
    c.data.mixture.where = ""
    # Later phases of the mixture by name. Each has `begin` (the token of the run at which it begins), `ramp` (the tokens over which the
    # mixture moves to it; 0: at once) and those fields from above that change.
    c.data.mixture.phases = ConfigDict()

    c.clean = ConfigDict()  # how `varietas prepare --config` cleans documents; training does not read these fields
    c.clean.opt_outs = True  # leave out documents that robots.txt or a reservation of rights on the page (TDM) excludes
    c.clean.verdicts = False  # leave out documents that their collection marks as not to be kept (HPLT's `filter`)
    c.clean.blocked = ""  # leave out pages of domains in these lists: text files with a domain on each line, spaces between them; "": none
    c.clean.unicode = False  # normalise to NFC, repair mojibake, write line ends as \n, remove control characters
    c.clean.language = False  # leave out documents that are certainly in another language than their label says
    c.clean.min_chars = 0  # leave out documents with fewer characters; 0: only empty ones
    c.clean.rules = False  # leave out menus, keywords, adverts, code, damaged letters, repetition (RULES in data/clean/rules.py)
    c.clean.fences = ""  # the thresholds of these rules by language: a file that `varietas fences` wrote; "": those of the package
    c.clean.pii = "keep"  # e-mail addresses, phone, bank and personal numbers: keep, mask (replace them), drop (leave out the document)
    c.clean.duplicates = "keep"  # keep, exact (keep the first of identical documents), near (also of similar ones, by MinHash)
    c.clean.overlap = False  # leave out documents that share 13 consecutive words with evaluation text
    c.clean.overlap_text = ""  # more evaluation text besides that of `evaluate`: files as for --input, with spaces between them; "": none
    # Share of the documents that are held out: `evaluate` and eval.every measure on them, and no run reads them. Their digests choose them.
    c.clean.held_out = 0.0

    c.model = ConfigDict()
    c.model.vocab_size = 0  # V, size of the vocabulary; 0: the number of pieces of the tokenizer, rounded up to a multiple of 128
    c.model.n_layers = 4  # R, number of layers
    c.model.d_model = 128  # D, width of the model
    c.model.d_ff = 384  # F, width of the feed-forward part
    c.model.n_heads = 8  # N, number of query heads
    c.model.n_kv_heads = 8  # K, number of key and value heads; must divide n_heads
    c.model.d_head = 0  # H, width of a head, an even number; 0: d_model / n_heads
    # Multi-head latent attention (DeepSeek-AI, 2024): keys and values of all heads are made from one vector of this width, and only that is
    # cached. d_head is then the width of the part of a head that is not rotated, and n_kv_heads is n_heads. 0: grouped-query attention,
    # which does not read the next three fields.
    c.model.kv_rank = 0  # exported only with DeepSeek's experts, and to GGUF only with q_rank and norm_eps=1e-6
    c.model.q_rank = 0  # width of the vector that queries are made from; 0: they are made from the inputs
    c.model.d_rope = 16  # width of the part of a head that is rotated, an even number
    c.model.d_value = 16  # width of the values of a head
    c.model.max_seq_len = 256  # longest context that the model is made for, in tokens
    c.model.rope_theta = 10000.0  # base of the frequencies of rotary position embeddings
    # How rotary frequencies change for contexts longer than those of the first training: none, linear, llama3, yarn. The fields below say
    # more; `none` reads none of them, `linear` only the factor.
    c.model.rope_scaling = "none"
    c.model.rope_factor = 1.0  # how many times longer the context becomes
    c.model.rope_original_max_seq_len = 0  # the context of the first training, in tokens
    c.model.rope_low_freq_factor = 1.0  # llama3: frequencies that turn less often in the original context are divided by rope_factor
    c.model.rope_high_freq_factor = 4.0  # llama3: frequencies that turn more often in it are kept
    c.model.rope_beta_fast = 32.0  # yarn: frequencies that turn more often in the original context are kept
    c.model.rope_beta_slow = 1.0  # yarn: frequencies that turn less often in it are divided by rope_factor
    c.model.rope_attention_factor = 0.0  # queries and keys are multiplied by it; 0: 0.1 ln(rope_factor) + 1 for yarn, else 1
    c.model.rope_score_factor = 1.0  # latent attention: scores are multiplied by it, as DeepSeek's models do with yarn
    c.model.sliding_window = 0  # a token attends to this many tokens, itself included; 0: to all before it
    c.model.norm_eps = 1e-5  # added to the mean square in RMSNorm
    # Standard deviation of initial weights; divided by sqrt(2 n_layers) for the two output matrices of a layer. 0: 1 / sqrt(d_model).
    c.model.init_std = 0.02
    c.model.zero_out = False  # whether the two output matrices of a layer begin at zero
    c.model.tied_embeddings = True  # whether the output matrix is the transposed embedding instead of a parameter of its own
    c.model.qk_norm = False  # whether RMSNorm is applied to the queries and keys of each head
    c.model.qkv_bias = False  # whether queries, keys and values have a bias
    # Feed-forward part: swiglu (gated), xielu (without a gate, with a learned activation), experts (a mixture of gated experts, of which
    # each token goes through a few). Only `experts` reads the fields from n_experts to router_scale.
    c.model.feed_forward = "swiglu"
    c.model.n_experts = 8  # E, number of experts of a layer, of which a router chooses
    c.model.n_experts_per_token = 2  # how many of them a token goes through
    c.model.d_expert = 128  # X, width of an expert
    c.model.n_shared_experts = 0  # experts besides that all tokens go through
    c.model.n_dense_layers = 0  # the first layers, which have a swiglu of the width d_ff instead of experts
    c.model.router_scores = "softmax"  # scores of the experts of a token: softmax (over all of them), sigmoid (of each by itself)
    c.model.router_normalise = True  # whether the weights of the chosen experts are divided by their sum
    # Whether each expert has a bias that counts for the choice alone. It rises while the expert has too few tokens (Wang et al., 2024).
    c.model.router_bias = False
    c.model.router_groups = 1  # groups of experts; a token chooses from router_groups_per_token of them
    c.model.router_groups_per_token = 1
    c.model.router_scale = 1.0  # the weights of the chosen experts are multiplied by it
    # Low-rank adapters (Hu et al., 2021): the parameters of train.init_from stay as they are, and only A and B are trained, where a linear
    # layer has W + lora_alpha / lora_rank A B in place of its matrix W. What is exported has the sum. 0: all parameters are trained.
    c.model.lora_rank = 0
    c.model.lora_alpha = 16.0
    c.model.lora_on = "attention, feed_forward"  # which linear layers: parts of a layer or names of matrices, such as query, value, down
    c.model.dtype = "float32"  # dtype of activations and products: float32 or bfloat16; parameters are always float32
    # What the backward pass recomputes to save memory: none, dots (all but products with weights), full (everything within a layer).
    c.model.remat = "none"
    c.model.attention = "auto"  # blocks (any device), cudnn (NVIDIA GPUs, bfloat16), auto (the faster one)
    c.model.loss_chunk = 256  # positions of each row whose logits are in memory at once

    c.optim = ConfigDict()
    # adamw, or muon: Muon for the matrices of layers and AdamW for the rest. Muon's updates are scaled to the size of AdamW's, so that a
    # learning rate and a weight decay that suit AdamW suit both (Liu et al., 2025).
    c.optim.name = "adamw"
    c.optim.peak_lr = 3e-3  # highest learning rate
    c.optim.muon_lr_ratio = 1.0  # Muon: its learning rate is this times that of AdamW
    c.optim.schedule = "cosine"  # learning rate after warm-up: cosine, wsd (constant, then linear decay), constant
    c.optim.warmup_steps = 20  # steps of linear warm-up; 0: none
    c.optim.decay_fraction = 0.2  # for wsd: fraction of all steps over which the learning rate decays
    c.optim.final_lr_fraction = 0.1  # final learning rate as a fraction of peak_lr, for cosine and wsd
    c.optim.beta1 = 0.9  # AdamW: decay rate of the mean of the gradients
    c.optim.beta2 = 0.95  # AdamW: decay rate of the mean of the squared gradients
    c.optim.eps = 1e-8  # AdamW: added to the root of the mean of the squared gradients
    c.optim.weight_decay = 0.1  # in each step matrices shrink by this times their learning rate; norms do not
    c.optim.clip_norm = 1.0  # gradients with a larger global norm are scaled down to this norm
    c.optim.z_loss = 1e-4  # weight of log(Z)² in the loss, where Z is the sum of exp(logits) of a token; 0: none

    # Weight in the loss of what keeps all experts at work: the mean over layers of E Σ f p, where f is the share of tokens that an expert
    # has and p the mean of its scores (Fedus et al., 2021); 0: none. It is of each part of a batch, if there are several.
    c.optim.balance_loss = 1e-3
    c.optim.router_z_loss = 0.0  # weight in the loss of log(Z)² of the router, the mean over tokens and layers (Zoph et al., 2022); 0: none
    c.optim.router_bias_rate = 1e-3  # how much the bias of an expert rises or falls in a step, with model.router_bias

    # Direct preference optimisation (Rafailov et al., 2023): of two conversations, the model learns to prefer the chosen one, from a corpus
    # of `varietas prepare --preferences`. 0.1 is usual; with a lower value the model may go farther from what it was before. That is the
    # model without its adapters, so model.lora_rank has to be set; z_loss is not used. 0: the model learns to predict the next token.
    c.optim.dpo_beta = 0.0

    # Number of devices along each axis. -1: the devices that are left, for fsdp before data and data before tensor.
    c.mesh = ConfigDict()
    c.mesh.data = -1  # splits the batch; each part has a replica of the parameters
    c.mesh.fsdp = -1  # splits batch, parameters and optimiser state; -1 with data=-1: as many as leave each device 256 columns of d_model
    c.mesh.tensor = 1  # splits heads, feed-forward, experts and vocabulary

    c.train = ConfigDict()
    c.train.steps = 200  # optimiser steps of the whole run
    c.train.batch_size = 16  # rows of a step over all devices together
    c.train.grad_accum = 1  # parts of a batch that are computed one after the other to save memory; 1: the whole batch at once
    # Where the first parameters come from: a run (the newest checkpoint, or RUN@STEP), or a folder with a model in the layout of
    # transformers; "": they are random. The fields of `model` are then those of that model, unless the command line says otherwise.
    c.train.init_from = ""
    c.train.init_optimizer = False  # whether the moments of the optimiser come from there too; the learning rate begins its schedule anew
    # What follows a step whose loss or gradient is not a number, although it was computed again: stop, skip (leave its rows out), rollback
    # (go back to the last checkpoint, and leave out the rows from there to here).
    c.train.on_not_finite = "stop"
    c.train.on_spike = "keep"  # the same for a loss far above those before it: keep (the step counts), stop, skip, rollback
    # Steps between checks of the devices: whether they compute a step twice alike, and hold equal replicas of parameters; 0: none.
    c.train.check_every = 0

    # Seconds without a new batch, step or checkpoint after which a training is stuck: it says which process hangs, and ends with status
    # 3. What compiles, restores or evaluates may take longer. 0: never stuck.
    c.train.stuck_after = 1800

    c.checkpoint = ConfigDict()
    c.checkpoint.every = 100  # steps between checkpoints; 0: only when training ends or is interrupted
    c.checkpoint.keep = 3  # number of checkpoints that are kept; older ones are deleted

    c.eval = ConfigDict()
    c.eval.every = 0  # steps between evaluations of all languages during training; 0: none
    c.eval.held_out_bytes = 100_000  # of each language and source of the corpus, at most so much held-out text is evaluated; 0: none
    return c.lock()
