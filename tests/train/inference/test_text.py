"""The text of a continuation is whole, whatever its tokens are, and samples begin as the Declaration of Human Rights does."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sentencepiece as spm

from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.model import encode_prompts, load
from varietas.train.inference import text as text_module
from varietas.train.inference.sampling import Sampling
from varietas.train.inference.text import continuations, sample

ANY: Any = SimpleNamespace(config=SimpleNamespace(max_seq_len=60))  # a model; what it generates is given


@pytest.fixture
def processor(corpus_folder: Path) -> spm.SentencePieceProcessor:
    return load(corpus_folder / "tokenizer.model")


def given(monkeypatch: pytest.MonkeyPatch, texts: list[list[int]]) -> list[tuple[Any, ...]]:
    """Makes `generate` yield these ids, and None after them. Returns the arguments of its calls."""
    calls = []

    def generate(*arguments: Any) -> Iterator[list[int | None]]:
        calls.append(arguments)
        for n in range(max(map(len, texts))):
            yield [ids[n] if n < len(ids) else None for ids in texts]

    monkeypatch.setattr(text_module, "generate", generate)
    return calls


def test_text_comes_in_whole_characters_and_nothing_of_it_is_lost(
    processor: spm.SentencePieceProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = encode_prompts(processor, ["Dobrý den,", "Tere"])
    ids = [processor.encode(" světe 🇪🇺!"), processor.encode(" 🇪🇺")[:-1]]  # the second ends within a character
    calls = given(monkeypatch, ids)
    pieces = list(continuations(ANY, processor, prompts, Sampling(50, temperature=0.5)))
    texts = ["".join(text for number, text in pieces if number == row) for row in (0, 1)]
    assert texts[0] == " světe 🇪🇺!" and texts[1].startswith(" 🇪") and texts[1].endswith("\ufffd")
    assert all(text for _, text in pieces) and pieces[0] == (0, processor.decode(prompts[0] + ids[0][:1])[len("Dobrý den,") :])
    assert calls == [(ANY, prompts, Sampling(50, temperature=0.5), (processor.eos_id(),), processor.get_piece_size())]


@pytest.mark.parametrize(
    ("trained_on", "chosen"),
    [(["ces_Latn", "fra_Latn", "deu_Latn"], ["deu_Latn", "ces_Latn"]), (["fra_Latn", "xyz_Latn"], ["fra_Latn", "xyz_Latn"])],
)
def test_samples_begin_with_five_words_of_the_declaration(
    trained_on: list[str], chosen: list[str], processor: spm.SentencePieceProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = given(monkeypatch, [processor.encode(" a b"), processor.encode(" c")])
    samples = sample(ANY, processor, trained_on)
    declaration = {document.lang: document.text for document in parallel_documents()}
    openings = [" ".join(declaration.get(code, "").split()[:5]) for code in chosen]
    assert [(made["language"], made["prompt"]) for made in samples] == list(zip(chosen, openings, strict=True))
    assert [made["text"] for made in samples] == [" a b", " c"] and openings[0].count(" ") == 4
    assert calls[0][2].max_tokens == 30  # half of the context
