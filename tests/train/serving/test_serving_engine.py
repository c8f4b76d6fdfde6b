"""Texts that share a batch and a cache come out as `generate` gives each alone, whoever else is there and however small the cache is."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.linear.quantize import quantize
from varietas.model.sharding import make_mesh
from varietas.train.inference.generate import Generator, generate, generator
from varietas.train.inference.network import Network
from varietas.train.inference.sampling import Sampling
from varietas.train.serving.engine import Closed, Engine, Full
from varietas.train.serving.pages import PAGE, Pool, pages_for
from varietas.train.serving.step import Programs
from varietas.train.serving.texts import Asked, Piece, Text
from varietas.train.serving.writer import Writer

PIECES, CONTEXT, PAGES = 128, 512, 100
CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=PIECES, n_kv_heads=2, max_seq_len=CONTEXT)
LATENT = replace(CFG, n_kv_heads=8, kv_rank=24, q_rank=16, d_head=16, d_rope=8, d_value=12)
EXPERTS = replace(CFG, feed_forward="experts", n_experts=4, d_expert=24, n_shared_experts=1)
WINDOW = replace(CFG, sliding_window=20)
LENGTHS = (5, 300, 1, 17, 64, 65, 257, 40)
NEW = 12
MESHES = {1: (1, 1, 1), 2: (1, 1, 2)}


class Words:
    """A tokenizer whose token n is the word `n`."""

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f" {number}" for number in ids)


def network(cfg: ModelConfig, devices: int = 1, form: str = "") -> Generator:
    params, mesh = random_params(cfg), make_mesh(*MESHES[devices], devices=jax.devices()[:devices])
    return generator(Network(quantize(params, form, mesh) if form else params, cfg, mesh))


def random_params(cfg: ModelConfig) -> Params:
    """Weights large enough that the next token depends on all tokens before it."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(cfg)[1])


def prompts() -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(1, PIECES, n).tolist() for n in LENGTHS]


def asked(**more: Any) -> list[Asked]:
    """Every second text is sampled."""
    return [Asked(tuple(ids), NEW, temperature=float(row % 2), top_p=0.9, seed=7, row=row, **more) for row, ids in enumerate(prompts())]


class Served:
    """An engine at work, and what it has delivered."""

    def __init__(self, programs: Programs, pages: int = PAGES, batch: int = 4, queue: int = 100):
        self.pieces: dict[Text, list[Piece]] = {}
        self._ended = threading.Semaphore(0)
        self.engine = Engine(programs, pages, batch, CONTEXT, queue, self._deliver)
        self._thread = threading.Thread(target=self.engine.run)

    def __enter__(self) -> "Served":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self._thread.join()

    def _deliver(self, news: list[tuple[Text, Piece]]) -> None:
        for text, piece in news:
            self.pieces.setdefault(text, []).append(piece)
            if piece.finish:
                self._ended.release()

    def submit(self, wanted: Sequence[Asked]) -> list[Text]:
        texts = [Text(one, Writer(Words(), one.prompt, one.stops)) for one in wanted]  # type: ignore[arg-type]
        self.engine.submit(texts)
        return texts

    def wait(self, texts: Sequence[Text]) -> list[list[int]]:
        """Returns the new tokens of texts, once as many have ended."""
        for _ in texts:
            assert self._ended.acquire(timeout=120), self.engine.failure
        return [text.tokens[len(text.asked.prompt) :] for text in texts]


def alone(model: Generator) -> list[list[int]]:
    """What `generate` gives, in which a text's row is that of `Asked.row`."""
    greedy, drawn = (
        list(zip(*generate(model, prompts(), Sampling(NEW, temperature, 0.9, 7), (), PIECES), strict=True)) for temperature in (0.0, 1.0)
    )
    return [list(drawn[row] if row % 2 else greedy[row]) for row in range(len(LENGTHS))]


@pytest.mark.parametrize(
    ("cfg", "devices", "form"),
    [(CFG, 1, ""), (CFG, 2, ""), (WINDOW, 1, ""), (LATENT, 2, ""), (EXPERTS, 2, ""), (CFG, 1, "int8"), (CFG, 1, "int4")],
    ids=["plain", "mesh", "window", "latent", "experts", "int8", "int4"],
)
def test_texts_together_are_as_generate_gives_them(cfg: ModelConfig, devices: int, form: str) -> None:
    model = network(cfg, devices, form)
    with Served(Programs(model, PIECES, PAGES, 4, CONTEXT)) as served:
        assert served.wait(served.submit(asked())) == alone(model)


@pytest.fixture(scope="module")
def model() -> Generator:
    return network(CFG)


@pytest.fixture(scope="module")
def programs(model: Generator) -> Programs:
    return Programs(model, PIECES, PAGES, 16, CONTEXT)


@pytest.fixture(scope="module")
def expected(model: Generator) -> list[list[int]]:
    return alone(model)


@pytest.mark.parametrize(("pages", "batch"), [(16, 16), (20, 4), (100, 1)])
def test_a_small_cache_or_batch_changes_no_text(programs: Programs, expected: list[list[int]], pages: int, batch: int) -> None:
    with Served(programs, pages, batch) as served:
        assert served.wait(served.submit(asked())) == expected
    assert served.engine.pool.free == pages
    assert served.engine.failure is None


def test_texts_give_up_their_pages_only_if_they_must(programs: Programs) -> None:
    """Two texts that grow to 8 pages each find 9: the later one waits until the first has ended, and is read again."""
    long = [Asked(tuple(prompts()[0]), 8 * PAGE - 5, row=row) for row in range(2)]
    with Served(programs, 9, 4) as served:
        tight = served.wait(served.submit(long))
        assert served.engine.preempted == 1
    with Served(programs, 16, 4) as served:
        assert served.wait(served.submit(long)) == tight
        assert served.engine.preempted == 0


def test_a_text_joins_while_others_are_continued(programs: Programs, expected: list[list[int]]) -> None:
    first, *others = asked()
    with Served(programs) as served:
        long = served.submit([replace(first, max_tokens=200)])
        until(lambda: bool(served.pieces), served)
        found = served.wait(served.submit(others))
        assert not long[0].ended
        assert found == expected[1:]
        assert served.wait(long)[0][:NEW] == expected[0]


def test_likelihoods_are_those_of_the_tokens(programs: Programs) -> None:
    """Of the prompt and of new tokens, also if the text has lost its pages in between."""
    with Served(programs, 17, 4) as served:
        texts = served.submit([replace(one, likelihoods=True, of_prompt=True, max_tokens=60) for one in asked()])
        served.wait(texts)
        assert served.engine.preempted
    for text in texts:
        told = [one for piece in served.pieces[text] for one in piece.likelihoods]
        assert [one.token for one in told] == text.tokens
        logs = log_probabilities(text.tokens)
        assert told[0].log is None
        for place, one in enumerate(told[1:]):
            np.testing.assert_allclose(one.log, logs[place, one.token], rtol=0, atol=2e-4)
            np.testing.assert_allclose([log for _, log in one.top], np.sort(logs[place])[::-1][:20], rtol=0, atol=2e-4)
            np.testing.assert_allclose([log for _, log in one.top], [logs[place, token] for token, _ in one.top], rtol=0, atol=2e-4)


def log_probabilities(tokens: list[int]) -> np.ndarray:
    """Those of a forward pass over the whole text, (L, V)."""
    padded, place = np.zeros(CONTEXT, np.int32), np.arange(CONTEXT)
    padded[: len(tokens)] = tokens
    return np.asarray(_log_probabilities(random_params(CFG), padded[None], (place < len(tokens)).astype(np.int32)[None], place[None]))


@jax.jit
def _log_probabilities(params: Any, *row: jax.Array) -> jax.Array:
    decoder = bind(graph_and_shapes(CFG)[0], params)
    return jax.nn.log_softmax(decoder(*row)[0] @ decoder.head_DV)


def test_a_text_ends_at_an_end_or_a_stop(programs: Programs, expected: list[list[int]]) -> None:
    first, token = asked()[0], expected[0][4]
    place = expected[0].index(token)
    with Served(programs) as served:
        by_end, by_stop, by_length, nothing = served.submit(
            [
                replace(first, ends=(token,)),
                replace(first, stops=(f"{expected[0][place - 1]} {token}",)),
                first,
                replace(first, max_tokens=0, likelihoods=True, of_prompt=True),
            ]
        )
        served.wait([by_end, by_stop, by_length, nothing])
    words = [f" {number}" for number in expected[0]]

    def told(text: Text) -> tuple[str, int, str]:
        pieces = served.pieces[text]
        return "".join(piece.text for piece in pieces), sum(piece.tokens for piece in pieces), pieces[-1].finish

    assert told(by_end) == ("".join(words[:place]), place, "stop")
    assert told(by_stop) == ("".join(words[: place - 1]) + " ", place + 1, "stop")
    assert told(by_length) == ("".join(words), NEW, "length")
    assert told(nothing) == ("", 0, "length")
    assert len(served.pieces[nothing][-1].likelihoods) == len(first.prompt)


def test_a_cancelled_text_frees_its_pages_and_is_heard_of_no_more(programs: Programs) -> None:
    with Served(programs, 17) as served:
        running, waiting, short = served.submit([replace(asked()[0], max_tokens=n) for n in (500, 500, 5)])
        until(lambda: running in served.pieces, served)
        served.engine.cancel([running, waiting])
        served.wait([short])
    assert served.engine.pool.free == 17
    assert not any(piece.finish for text in (running, waiting) for piece in served.pieces.get(text, []))


def test_a_full_queue_takes_all_texts_or_none(programs: Programs) -> None:
    served = Served(programs, batch=1, queue=3)
    texts = served.submit(asked()[:3])
    with pytest.raises(Full):
        served.submit(asked()[:2])
    assert served.engine.waiting == 3
    with served:
        served.wait(texts)


def test_what_is_left_fails_when_the_engine_ends(programs: Programs) -> None:
    with Served(programs, batch=1) as served:
        texts = served.submit([replace(one, max_tokens=200) for one in asked()])
        until(lambda: bool(served.pieces), served)
    assert {pieces[-1].finish for pieces in served.pieces.values()} == {"failed"}
    assert set(served.pieces) == set(texts)
    with pytest.raises(Closed):
        served.submit(asked())


def test_a_stop_frees_the_row_at_once(programs: Programs, expected: list[list[int]]) -> None:
    """The step that is under way when the stop is found does not begin the text again."""
    with Served(programs) as served:
        texts = served.submit([replace(asked()[0], max_tokens=400, stops=(f" {expected[0][2]}",))])
        served.wait(texts)
        until(lambda: not served.engine.running, served)
        assert served.engine.new_tokens <= 5 and served.engine.pool.free == PAGES


def test_prompts_take_turns(programs: Programs) -> None:
    """A long prompt is read although shorter ones come again and again."""
    with Served(programs, batch=4) as served:
        (long,) = served.submit([Asked(tuple(prompts()[1] + prompts()[5]), 1)])
        for row in range(40):
            served.submit([Asked(tuple(prompts()[3]), 1, row=row)])
            if long.ended:
                break
            until(lambda: served.engine.waiting == 0, served)
        until(lambda: long.ended, served)


def until(condition: Callable[[], bool], served: Served) -> None:
    """Waits for at most a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert served.engine.failure is None and time.monotonic() < end
        time.sleep(0.002)


def test_a_fault_of_the_devices_ends_all_texts(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(programs)
    monkeypatch.setattr(served.engine._programs, "start", lambda *_: 1 / 0)
    with served:
        texts = served.submit(asked())
        served.wait(texts)
    assert isinstance(served.engine.failure, ZeroDivisionError)
    assert all(pieces[-1].finish == "failed" for pieces in served.pieces.values())


def test_pages_are_handed_out_once() -> None:
    pool = Pool(5)
    taken = pool.take(3)
    assert 0 not in taken and len(set(taken)) == 3 and pool.free == 2
    pool.give_back(taken[:1])
    assert sorted(taken[1:] + pool.take(3)) == [1, 2, 3, 4, 5]
    assert [pages_for(n) for n in (1, PAGE, PAGE + 1)] == [1, 1, 2]
