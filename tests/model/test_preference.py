"""The weights of tokens are the derivatives of the loss of pairs, and a pair that lacks a side has none."""

import jax
import jax.numpy as jnp
import numpy as np

from varietas.model.preference import are_there, pairs

BETA = 0.3
SEGMENTS = jnp.array([[1, 1, 2, 2, 3, 3, 4, 0], [1, 1, 1, 2, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0]])
MASK = jnp.array([[0, 1, 1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]], jnp.float32)  # segment 4 learns nothing
LANGUAGES = jnp.array([[-1, 1, 1, 1, 2, 2, -3, 0], [4, -5, 4, -5, -5, 4, -5, 4], [0] * 8])


def test_losses_margins_and_weights() -> None:
    rng = np.random.default_rng(0)
    nll, reference = (jnp.array(rng.uniform(0, 9, SEGMENTS.shape), jnp.float32) for _ in range(2))
    found = pairs(nll, reference, MASK, SEGMENTS, LANGUAGES, BETA)
    assert found.there_BP.tolist() == are_there(MASK, SEGMENTS).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0] * 4]
    assert [found.languages_BP[row, 0] for row in (0, 1)] == [1, 4]
    gain = np.asarray((reference - nll) * MASK, np.float64)
    margins = [BETA * (gain[0, 1] - gain[0, 2:4].sum()), BETA * (gain[1, [0, 2]].sum() - gain[1, [5, 7]].sum())]
    np.testing.assert_allclose((found.chosen_BP - found.rejected_BP)[:2, 0], margins, rtol=1e-5)
    np.testing.assert_allclose(found.chosen_BP[:2, 0], [BETA * gain[0, 1], BETA * gain[1, [0, 2]].sum()], rtol=1e-5)
    np.testing.assert_allclose(found.loss_BP[:2, 0], np.log1p(np.exp(-np.array(margins))), rtol=1e-5)
    assert float(jnp.abs(found.chosen_BP).sum()) == float(jnp.abs(found.chosen_BP[:2, 0]).sum())
    slope = jax.grad(lambda nll: pairs(nll, reference, MASK, SEGMENTS, LANGUAGES, BETA).loss_BP.sum())(nll)
    np.testing.assert_allclose(found.weights_BL, slope, atol=1e-7)
    assert (np.asarray(found.weights_BL) != 0).sum() == 7
