"""What calibration knows of the inputs of a layer is what they are, and rounding with it changes outputs less."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import load
from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.inference.network import Network
from varietas.train.release import calibrating
from varietas.train.release.calibrating import TOKENS, _rows, importances

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=1024)
TEXT = [Document("1", "ces_Latn", "Všichni lidé rodí se svobodní. " * 9), Document("2", "ell_Grek", "Όλοι οι άνθρωποι. " * 700)]


@pytest.fixture(scope="module")
def params() -> Params:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])


def network(params: Params, cfg: ModelConfig, sizes: tuple[int, int, int] = (1, 1, 1)) -> Network:
    return Network(params, cfg, make_mesh(*sizes, devices=jax.devices()[: int(np.prod(sizes))]))


def test_all_languages_have_as_many_tokens(corpus_folder: Path) -> None:
    processor = load(corpus_folder / "tokenizer.model")
    rows = _rows(processor, TEXT, 128, 8)
    czech = [processor.bos_id(), *processor.encode(TEXT[0].text)]
    assert rows.shape == (2 * TOKENS // 128, 128) and len(czech) < TOKENS
    assert rows[: TOKENS // 128].ravel().tolist() == (czech * TOKENS)[:TOKENS]  # repeated, since it is short
    assert _rows(processor, TEXT[:1], 512, 8).shape == (8, 512)  # a multiple of the rows at a time
    more = _rows(processor, TEXT, 512, 24)
    greek = [processor.bos_id(), *processor.encode(TEXT[1].text)]
    assert more.shape == (24, 512) and more[12].tolist() == greek[:512]  # twelve rows of each language
    with pytest.raises(ValueError, match="there is no document to calibrate on"):
        _rows(processor, [], 512, 8)


@pytest.mark.parametrize(
    ("changes", "sizes"), [({}, (1, 1, 1)), ({"remat": "full"}, (1, 1, 1)), ({}, (2, 2, 2))], ids=["unrolled", "scanned", "sharded"]
)
def test_importances_are_the_mean_squares_of_inputs(
    params: Params, corpus_folder: Path, changes: dict[str, str], sizes: tuple[int, int, int]
) -> None:
    processor, cfg = load(corpus_folder / "tokenizer.model"), replace(CFG, **changes)
    found = importances(network(params, cfg, sizes), processor, TEXT)
    embedded = params["embedding_VD"][_rows(processor, TEXT, cfg.max_seq_len, 8)].astype(np.float64)
    scale = params["layers"]["attention_norm"]["scale_D"][0]
    inputs = scale * embedded / np.sqrt((embedded**2).mean(-1, keepdims=True) + cfg.norm_eps)
    expected = (inputs**2).mean((0, 1))
    for name in ("query_DNH", "key_DKH", "value_DKH"):
        np.testing.assert_allclose(found["layers", "attention", name][0], expected, rtol=1e-5)
    D, F, heads = cfg.d_model, cfg.d_ff, (cfg.n_heads, cfg.head_dim)
    shapes = {"query_DNH": (D,), "key_DKH": (D,), "value_DKH": (D,), "out_NHD": heads, "gate_DF": (D,), "up_DF": (D,), "down_FD": (F,)}
    assert {keys[-1]: x.shape[1:] for keys, x in found.items()} == shapes
    assert all((x > 0).all() for x in found.values())
    again = importances(network(params, CFG), processor, TEXT)
    for keys, x in again.items():
        np.testing.assert_allclose(found[keys], x, rtol=1e-4)


def test_more_devices_than_rows_at_a_time(params: Params, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = load(corpus_folder / "tokenizer.model")
    usual = importances(network(params, CFG), processor, TEXT)
    monkeypatch.setattr(calibrating, "ROWS", 2)
    for keys, x in importances(network(params, CFG, (8, 1, 1)), processor, TEXT).items():
        np.testing.assert_allclose(x, usual[keys], rtol=1e-4)
