"""Rounded tensors are as near to the parameters as the formula of each form says; what has no place in a form is refused."""

import gguf
import numpy as np
import pytest

from varietas.model.formats.quants import BLOCKS, FILE_TYPES, form_of, rounded, size_of

RNG = np.random.default_rng(0)
WEIGHTS = (RNG.standard_normal((40, 1024)) * np.exp(RNG.standard_normal((40, 1)))).astype(np.float32)
WEIGHTS[3], WEIGHTS[5, :256], WEIGHTS[7] = 0, 0.25, np.abs(WEIGHTS[7])  # all zero, all equal, none negative


def there_and_back(x: np.ndarray, form: str) -> np.ndarray:
    found = rounded(x, form, "x")
    assert found.nbytes == size_of(x.shape, form)
    return gguf.quants.dequantize(found, gguf.GGMLQuantizationType[form.upper()])


def largest(x: np.ndarray, n: int) -> np.ndarray:
    """The largest magnitude of the block of each weight."""
    return np.repeat(np.abs(x.reshape(*x.shape[:-1], -1, n)).max(-1), n, axis=-1)


BOUNDS = {
    "f32": np.zeros_like(WEIGHTS),
    "f16": np.abs(WEIGHTS) * 2**-11 + 2**-25,
    "bf16": np.abs(WEIGHTS) * 2**-8,
    "q8_0": largest(WEIGHTS, 32) / 127 * (0.5 + 127 * 2**-11),  # half a step, and the scale is a float16
    "q6_k": largest(WEIGHTS, 16) / 32 * (0.6 + 32 / 127) + largest(WEIGHTS, 256) * 2**-12,  # scales are whole numbers up to 127
    "q4_0": largest(WEIGHTS, 32) / 8 * (1 + 8 * 2**-11),  # a whole step: numbers from -8 to 7
}


@pytest.mark.parametrize("form", BOUNDS)
def test_the_error_of_a_weight_is_within_the_bound_of_the_form(form: str) -> None:
    assert (np.abs(there_and_back(WEIGHTS, form) - WEIGHTS) <= BOUNDS[form]).all()


def test_q4_k_is_better_than_rounding_between_the_extremes_of_each_part() -> None:
    parts = WEIGHTS.reshape(-1, 32)
    low = np.minimum(parts.min(-1, keepdims=True), 0)
    step = np.maximum(parts.max(-1, keepdims=True) - low, 1e-9) / 15
    plain = ((np.rint((parts - low) / step) * step + low - parts) ** 2).sum(-1)
    found = there_and_back(WEIGHTS, "q4_k")
    error = ((found - WEIGHTS).reshape(-1, 32) ** 2).sum(-1)
    # Scales of 6 bits cost the parts whose neighbours are larger a little; a search for the best fit gains more than that.
    assert error.sum() < 0.82 * plain.sum() and np.median(error / np.maximum(plain, 1e-12)) < 0.85
    assert (found[3] == 0).all() and found[5, :256] == pytest.approx(0.25, rel=0.02) and (found[7] > -0.01).all()
    q4_0 = ((there_and_back(WEIGHTS, "q4_0") - WEIGHTS) ** 2).sum()
    assert error.sum() < 0.67 * q4_0


def test_q4_k_spares_the_weights_that_meet_large_inputs() -> None:
    """The error of outputs, over inputs some of which are much larger than others, as those of language models are."""
    size = np.exp(1.5 * RNG.standard_normal(1024)).astype(np.float32)
    inputs = (RNG.standard_normal((500, 1024)) * size).astype(np.float32)
    importance = (inputs**2).mean(0)
    plain, calibrated = (
        gguf.quants.dequantize(rounded(WEIGHTS, "q4_k", "x", by), gguf.GGMLQuantizationType.Q4_K) for by in (None, importance)
    )
    errors = [((inputs @ (found - WEIGHTS).T) ** 2).sum() for found in (plain, calibrated)]
    assert errors[1] < 0.75 * errors[0]
    same = rounded(WEIGHTS, "q4_k", "x", np.full(1024, 3.0, np.float32))
    assert np.array_equal(same, rounded(WEIGHTS, "q4_k", "x"))


def test_q6_k_is_better_than_rounding_by_the_extreme_of_each_part() -> None:
    unit = largest(WEIGHTS, 16) / 31.5
    plain = ((np.rint(WEIGHTS / np.maximum(unit, 1e-9)) * unit - WEIGHTS) ** 2).sum()
    assert ((there_and_back(WEIGHTS, "q6_k") - WEIGHTS) ** 2).sum() < 0.68 * plain


def test_q4_k_keeps_exactly_what_it_can_express() -> None:
    q = RNG.integers(0, 16, (3000, 8, 32)).astype(np.float32)  # more blocks than are rounded at once
    q[..., 0], q[..., 1] = 0, 15
    x = (q - np.arange(8)[:, None]) * np.float32(0.125) * np.array([63, 1, 2, 5, 10, 20, 40, 62], np.float32)[:, None] / 63
    x = x.reshape(-1, 256)
    assert np.abs(there_and_back(x, "q4_k") - x).max() < 2e-2 * np.abs(x).max()


@pytest.mark.parametrize("form", FILE_TYPES)
def test_vectors_are_float32_and_rows_are_whole_blocks(form: str) -> None:
    assert form_of("blk.0.attn_norm.weight", (256,), form) == "f32"
    assert form_of("blk.0.attn_q.weight", (5, 512), form) == form
    four_bits = form.startswith("q4")
    assert form_of("token_embd.weight", (5, 512), form) == form_of("output.weight", (5, 512), form) == ("q6_k" if four_bits else form)
    assert form_of("output.weight", (5, 160), form) == ("q8_0" if four_bits else form)
    assert form_of("blk.0.attn_q.weight", (5, 160), form) == ("q8_0" if form == "q4_k" else form)
    assert form_of("blk.0.attn_q.weight", (5, 40), form) == ("f16" if form in BLOCKS else form)


@pytest.mark.parametrize(("form", "number"), [("f16", 7e4), ("q8_0", 1e6), ("bf16", np.nan), ("f32", np.inf), ("q4_k", -np.inf)])
def test_a_number_that_has_no_place_is_refused(form: str, number: float) -> None:
    x = np.zeros((2, 256), np.float32)
    x[1, 7] = number
    with pytest.raises(ValueError, match=rf"^blk.1.ffn_up.weight holds .*, which {form} cannot express"):
        rounded(x, form, "blk.1.ffn_up.weight")
