"""The runs of a ladder stay within the budget and have the shape of the model that they speak for."""

from dataclasses import replace

import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.flops import count_params, train_flops_per_token
from varietas.train.ladder.layout import rungs, shrunk

BIG = replace(ModelConfig(**load_config("eurollm_1p7b").model), vocab_size=128_000)
STEPS, ROWS, L = 1_000_000, 1024, 4096
COST = STEPS * ROWS * L * train_flops_per_token(BIG, L)


@pytest.mark.parametrize("part", [0.3, 0.1, 0.01, 0.001])
def test_a_ladder_spends_its_budget_and_no_more(part: float) -> None:
    found = rungs(BIG, STEPS, ROWS, L, part * COST)
    spent = sum(rung.flops for rung in found)
    assert 0.98 * part * COST < spent <= part * COST * 1.0001
    assert len(found) == 9 and len({rung.model for rung in found}) == 3 and len({rung.name for rung in found}) == 9
    assert [rung.flops for rung in found] == sorted(rung.flops for rung in found)
    for rung in found:
        assert rung.tokens == rung.steps * ROWS * L and rung.flops == pytest.approx(rung.tokens * train_flops_per_token(rung.model, L))
    largest = found[-1]
    balance = (largest.steps / STEPS) / (largest.n_params / count_params(BIG))
    assert 0.3 < balance < 3 or largest.model == shrunk(BIG)[2]  # a smaller one would leave no room for two below it


def test_smaller_models_keep_what_makes_the_shape() -> None:
    for shape in shrunk(BIG):
        assert shape.head_dim == BIG.head_dim and shape.n_heads == 2 * shape.n_kv_heads and shape.d_model == shape.n_heads * 128
        assert shape.n_layers == pytest.approx(24 * shape.d_model / 2048, abs=0.5)
        assert shape.d_ff / shape.d_model == pytest.approx(5632 / 2048, rel=0.02)


def test_a_budget_that_does_not_suit_is_told() -> None:
    with pytest.raises(ValueError, match="is too small for a ladder of this model; give"):
        rungs(BIG, STEPS, ROWS, L, 1e12)
    with pytest.raises(ValueError, match="is enough for runs as long as the model's own"):
        rungs(BIG, STEPS, ROWS, L, 20 * COST)
    with pytest.raises(ValueError, match="n_kv_heads=2 is too small"):
        rungs(replace(BIG, n_heads=2, n_kv_heads=2), STEPS, ROWS, L, COST)
