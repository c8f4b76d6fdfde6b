"""Checks a config before anything is started: each error is one line that names the field and the nearest valid value."""

import math

from ml_collections import ConfigDict

from varietas.data.clean.cleaning import DUPLICATE_MODES, PII_MODES
from varietas.data.hints import nearest
from varietas.data.stream.mixture import from_config
from varietas.launch.config import PHASES, base_fields, nearest_field
from varietas.launch.mesh import check_mesh, nearest_divisor
from varietas.model.config import LINEAR_LAYERS, lora_words
from varietas.model.flops import FEED_FORWARD_MATRICES
from varietas.train.run_folder.config import flatten

CHOICES = {
    "model.dtype": ("float32", "bfloat16"),
    "model.remat": ("none", "dots", "full"),
    "model.attention": ("auto", "blocks", "cudnn"),
    "model.feed_forward": (*FEED_FORWARD_MATRICES, "experts"),
    "model.router_scores": ("softmax", "sigmoid"),
    "model.rope_scaling": ("none", "linear", "llama3", "yarn"),
    "data.on_corrupt": ("stop", "skip"),
    "clean.pii": PII_MODES,
    "clean.duplicates": DUPLICATE_MODES,
    "train.on_not_finite": ("stop", "skip", "rollback"),
    "train.on_spike": ("keep", "stop", "skip", "rollback"),
    "optim.name": ("adamw", "muon"),
    "optim.schedule": ("cosine", "wsd", "constant"),
}
POSITIVE = (
    "data.seq_len", "data.embedded_vocab_size", "model.n_layers", "model.d_model", "model.d_ff", "model.n_heads", "model.n_kv_heads",
    "model.d_rope", "model.d_value", "model.n_experts", "model.n_experts_per_token", "model.d_expert", "model.router_groups",
    "model.router_groups_per_token", "model.router_scale", "model.max_seq_len", "model.loss_chunk", "model.rope_theta",
    "model.rope_factor", "model.rope_beta_slow", "model.rope_score_factor", "model.lora_alpha", "model.norm_eps",
    "optim.peak_lr", "optim.muon_lr_ratio", "optim.eps", "optim.clip_norm", "train.steps", "train.batch_size", "train.grad_accum",
    "checkpoint.keep",
)  # fmt: skip
NOT_NEGATIVE = (
    "seed", "data.workers", "model.vocab_size", "model.d_head", "model.kv_rank", "model.q_rank", "model.n_shared_experts",
    "model.n_dense_layers", "model.sliding_window", "model.rope_original_max_seq_len", "model.rope_low_freq_factor",
    "model.rope_attention_factor", "model.init_std", "model.lora_rank", "optim.warmup_steps", "optim.weight_decay", "optim.z_loss",
    "optim.balance_loss", "optim.router_z_loss", "optim.router_bias_rate", "optim.dpo_beta", "checkpoint.every", "eval.every",
    "eval.held_out_bytes", "clean.min_chars", "train.stuck_after", "train.check_every",
)  # fmt: skip
FRACTIONS = ("data.mixture.alpha", "clean.held_out", "optim.decay_fraction", "optim.final_lr_fraction", "optim.beta1", "optim.beta2")


def check(config: ConfigDict) -> None:
    """Checks everything about a config that can be checked without the machine and the corpus.

    Raises:
        ValueError: If a field is missing or unknown, has the wrong type or value, or does not fit another field.
    """
    check_fields(config)
    _check_shapes(config)
    _check_rope(config)
    if config.model.kv_rank:
        _check_latent_attention(config)
    if config.model.feed_forward == "experts":
        _check_experts(config)
    if config.train.on_spike == "rollback" or config.train.on_not_finite == "rollback":
        _check_rollback(config)
    if config.model.lora_rank:
        _check_adapters(config)
    elif config.optim.dpo_beta:
        raise ValueError(
            f"optim.dpo_beta={config.optim.dpo_beta} measures the model against itself without adapters; set model.lora_rank, such as 64"
        )
    check_mesh(config, config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    from_config(config.data.mixture.to_dict())


def check_fields(config: ConfigDict) -> None:
    """Checks each field by itself. With `train.init_from`, only what that names says how they fit together.

    Raises:
        ValueError: If a field is missing or unknown, or has the wrong type or value.
    """
    _check_names_and_types(config)
    _check_ranges(config)


def _check_names_and_types(config: ConfigDict) -> None:
    known, flat = base_fields(), flatten(config.to_dict())
    for field in flat:
        if field not in known and not field.startswith(PHASES):  # `from_config` checks these
            raise ValueError(f"config has an unknown field {field}; {nearest_field(field, list(known))}")
    for field, value in known.items():
        if field not in flat:
            raise ValueError(f"config lacks the field {field}; start from varietas.configs.base.get_config()")
        if type(flat[field]) is not type(value):
            raise ValueError(f"{field}={flat[field]!r} is of type {type(flat[field]).__name__}, expected {type(value).__name__}")


def _check_ranges(config: ConfigDict) -> None:
    known, flat = base_fields(), flatten(config.to_dict())
    for field in (*POSITIVE, *NOT_NEGATIVE, *FRACTIONS):
        value = flat[field]
        valid = (value >= 0 if field not in POSITIVE else value > 0) and (value <= 1 if field in FRACTIONS else math.isfinite(value))
        if not valid:
            wanted = "more than 0" if field in POSITIVE else "from 0 to 1" if field in FRACTIONS else "0 or more"
            raise ValueError(f"{field}={value} must be {wanted}; configs/base.py has {known[field]}")
    if config.seed >= 1 << 63:
        raise ValueError(f"seed={config.seed} must be less than 2^63")
    for field in ("train.steps", "optim.warmup_steps"):  # steps are counted in 32 bits
        if flat[field] >= 1 << 31:
            raise ValueError(f"{field}={flat[field]} must be at most {(1 << 31) - 1:,}")
    for field in ("optim.beta1", "optim.beta2"):
        if flat[field] == 1:
            raise ValueError(f"{field}=1 would ignore every gradient; configs/base.py has {known[field]}")
    for field, choices in CHOICES.items():
        if flat[field] not in choices:
            raise ValueError(f"{field}={flat[field]!r} is not one of {', '.join(choices)}; did you mean {nearest(flat[field], choices)!r}?")
    for word in lora_words(config.model.lora_on):
        if word not in LINEAR_LAYERS:
            raise ValueError(f"model.lora_on: no linear layer is called {word!r}; did you mean {nearest(word, LINEAR_LAYERS)!r}?")


def _check_shapes(config: ConfigDict) -> None:
    m, t, seq_len = config.model, config.train, config.data.seq_len
    if not m.d_head and m.d_model % m.n_heads:
        fits = nearest_divisor(m.d_model, m.n_heads)
        raise ValueError(f"model.n_heads={m.n_heads} does not divide model.d_model={m.d_model}; set n_heads={fits} or d_head")
    head = m.d_head or m.d_model // m.n_heads
    if head % 2:
        raise ValueError(
            f"the head width is {head} (model.d_head, or d_model / n_heads), but rotary positions need an even number; "
            f"set model.d_head={head + 1}"
        )
    if m.n_heads % m.n_kv_heads:
        fits = nearest_divisor(m.n_heads, m.n_kv_heads)
        raise ValueError(f"model.n_kv_heads={m.n_kv_heads} does not divide model.n_heads={m.n_heads}; set n_kv_heads={fits}")
    if m.attention == "cudnn" and m.dtype != "bfloat16":
        raise ValueError(f"model.attention='cudnn' needs model.dtype=bfloat16, found {m.dtype}; or set model.attention=auto")
    if m.attention == "cudnn" and (head % 8 or seq_len % 2):
        raise ValueError(
            f"model.attention='cudnn' needs a head width that is a multiple of 8 and an even data.seq_len, found {head} and "
            f"data.seq_len={seq_len}; set model.attention=auto"
        )
    if seq_len > m.max_seq_len:
        raise ValueError(
            f"data.seq_len={seq_len} is longer than model.max_seq_len={m.max_seq_len}; set data.seq_len={m.max_seq_len} or less, or a "
            "higher model.max_seq_len"
        )
    if seq_len < 2:
        raise ValueError("data.seq_len=1 leaves no token to predict; set data.seq_len=2 or more")
    if t.batch_size % t.grad_accum:
        fits = nearest_divisor(t.batch_size, t.grad_accum)
        raise ValueError(f"train.grad_accum={t.grad_accum} does not divide train.batch_size={t.batch_size}; set grad_accum={fits}")


def _check_rope(config: ConfigDict) -> None:
    m = config.model
    if m.rope_attention_factor and m.rope_scaling != "yarn":
        raise ValueError(f"model.rope_attention_factor={m.rope_attention_factor} belongs to model.rope_scaling=yarn; leave it at 0")
    if m.rope_score_factor != 1 and not (m.kv_rank and m.rope_scaling == "yarn" and m.rope_factor > 1):
        raise ValueError(
            f"model.rope_score_factor={m.rope_score_factor} belongs to latent attention (model.kv_rank) with model.rope_scaling=yarn and "
            "model.rope_factor above 1; leave it at 1"
        )
    if m.rope_scaling == "none":
        return
    if m.rope_factor < 1:
        raise ValueError(f"model.rope_factor={m.rope_factor} must be 1 or more: it says how many times longer the context becomes")
    if m.rope_scaling in ("llama3", "yarn") and not m.rope_original_max_seq_len:
        raise ValueError(f"model.rope_scaling='{m.rope_scaling}' needs model.rope_original_max_seq_len, the context of the first training")
    for low, high in (("rope_low_freq_factor", "rope_high_freq_factor"), ("rope_beta_slow", "rope_beta_fast")):
        if m[low] >= m[high]:
            raise ValueError(f"model.{low}={m[low]} must be less than model.{high}={m[high]}")


def _check_latent_attention(config: ConfigDict) -> None:
    m = config.model
    for field, wanted in {"n_kv_heads": m.n_heads, "qk_norm": False, "qkv_bias": False, "sliding_window": 0}.items():
        if m[field] != wanted:
            raise ValueError(
                f"model.{field}={m[field]} does not go with latent attention (model.kv_rank={m.kv_rank}); set {field}={wanted}"
            )
    if m.d_rope % 2:
        raise ValueError(f"model.d_rope={m.d_rope} must be even, since rotary positions turn pairs; set model.d_rope={m.d_rope + 1}")


def _check_rollback(config: ConfigDict) -> None:
    if not config.checkpoint.every:
        field = "on_spike" if config.train.on_spike == "rollback" else "on_not_finite"
        raise ValueError(
            f"train.{field}=rollback goes back to a regular checkpoint, and checkpoint.every=0 makes none; set checkpoint.every"
        )


def _check_adapters(config: ConfigDict) -> None:
    rank = f"model.lora_rank={config.model.lora_rank}"
    if not config.train.init_from:
        raise ValueError(f"{rank} trains adapters of a model that exists; name it with train.init_from")
    if config.model.lora_rank > config.model.d_model:
        raise ValueError(f"{rank} is more than model.d_model={config.model.d_model}; an adapter then has more parameters than its matrix")
    if config.train.init_optimizer:
        raise ValueError(f"train.init_optimizer=true brings moments of all parameters, but {rank} trains adapters alone; leave it at false")


def _check_experts(config: ConfigDict) -> None:
    m = config.model
    if m.n_experts % m.router_groups:
        fits = nearest_divisor(m.n_experts, m.router_groups)
        raise ValueError(f"model.router_groups={m.router_groups} does not divide model.n_experts={m.n_experts}; set router_groups={fits}")
    if m.router_groups_per_token > m.router_groups:
        raise ValueError(
            f"model.router_groups_per_token={m.router_groups_per_token} is more than model.router_groups={m.router_groups}; set "
            f"router_groups_per_token={m.router_groups} or less"
        )
    if m.router_groups > 1 and m.n_experts // m.router_groups < 2:
        raise ValueError(f"model.router_groups={m.router_groups} leaves groups of one expert, and two are needed to rank a group")
    choice = m.n_experts // m.router_groups * m.router_groups_per_token
    if m.n_experts_per_token > choice:
        raise ValueError(
            f"model.n_experts_per_token={m.n_experts_per_token} is more than the {choice} experts that a token may choose from; set "
            f"n_experts_per_token={choice} or less"
        )
    if m.n_dense_layers >= m.n_layers:
        raise ValueError(
            f"model.n_dense_layers={m.n_dense_layers} leaves no layer with experts of model.n_layers={m.n_layers}; set "
            "model.feed_forward=swiglu, or fewer dense layers"
        )
