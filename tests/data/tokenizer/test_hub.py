"""A tokenizer.json serves as a SentencePiece model does: its ids are those of the library, and no text is lost or forges a token."""

import json
from pathlib import Path

import pytest
import tokenizers
from texts import byte_level
from tokenizers import normalizers, pre_tokenizers

from varietas.data.corpus.corpus import Corpus, decoded
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.text.embedded import parallel_documents, training_documents
from varietas.data.tokenizer.encode import Encoder
from varietas.data.tokenizer.hub import KEY, HubTokenizer
from varietas.data.tokenizer.model import Incremental, file_in, load, read
from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS, tokenizer_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer as many models have it, in the files that transformers writes."""
    texts = (d.text for d, _ in zip(training_documents(), range(300), strict=False))
    tokenizer = byte_level(texts, 700, ("<|begin|>", "<|end|>", "<|pad|>"))
    folder = tmp_path_factory.mktemp("hub")
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": {"content": "<|begin|>"}, "eos_token": "<|end|>", "pad_token": "<|pad|>", "unk_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(roles))
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> HubTokenizer:
    found = load(folder / "tokenizer.json")
    assert isinstance(found, HubTokenizer)
    return found


def test_ids_are_those_of_the_library_and_every_text_comes_back(folder: Path, tokenizer: HubTokenizer) -> None:
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [document.text for document in parallel_documents()]
    ids = [library.encode(text, add_special_tokens=False).ids for text in texts]
    assert tokenizer.encode(texts) == ids and [tokenizer.encode(text) for text in texts] == ids
    for text in (*texts, *ODD_TEXTS):
        assert tokenizer.decode(tokenizer.encode(text, add_bos=True, add_eos=True)) == text
    assert tokenizer.keeps_everything


def test_the_files_beside_it_say_what_begins_and_ends_a_document(folder: Path, tokenizer: HubTokenizer, tmp_path: Path) -> None:
    assert (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id(), tokenizer.unk_id()) == (0, 1, 2, -1)
    assert tokenizer.encode(["a b"], add_bos=True, add_eos=True) == [[0, *tokenizer.encode("a b"), 1]]
    content = (folder / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer.json has no bos token; the files of the release that say it"):
        load(tmp_path / "tokenizer.json")
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": [2, 1]}))
    only_end = load(tmp_path / "tokenizer.json")
    assert (only_end.bos_id(), only_end.eos_id()) == (2, 2)  # as Qwen: what ends a document begins the next
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<|begin|>"}))
    assert load(tmp_path / "tokenizer.json").bos_id() == 0


def test_text_that_spells_a_special_token_is_text(tokenizer: HubTokenizer) -> None:
    text = "a<|end|>b"
    assert 1 not in tokenizer.encode(text) and tokenizer.decode(tokenizer.encode(text)) == text


def test_a_normalizer_or_a_space_in_front_is_known_to_lose_text(folder: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert not HubTokenizer(library.to_str().encode()).keeps_everything
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.normalizer = normalizers.NFKC()
    assert not HubTokenizer(library.to_str().encode()).keeps_everything


def test_a_corpus_holds_its_ids_and_all_that_it_needs(folder: Path, tokenizer: HubTokenizer, tmp_path: Path) -> None:
    documents = [document for document, _ in zip(training_documents(), range(40), strict=False)]
    prepare_documents(documents, read(folder / "tokenizer.json"), tmp_path / "corpus")
    corpus = Corpus(tmp_path / "corpus")
    assert file_in(corpus.path).name == "tokenizer.json" and corpus.manifest["vocab_size"] == 700 and corpus.manifest["pad_id"] == 2
    assert sorted(document.text for document in decoded(corpus)) == sorted(document.text for document in documents)
    again = load(corpus.tokenizer)
    assert (again.bos_id(), again.eos_id()) == (0, 1)
    assert Encoder(again)([documents[0].text])[0] == Encoder(tokenizer)([documents[0].text])[0]


def test_it_is_exported_as_it_came(folder: Path) -> None:
    content = read(folder / "tokenizer.json")
    assert KEY in json.loads(content)
    assert tokenizer_json(load(content)) == json.loads((folder / "tokenizer.json").read_bytes())


def test_text_appears_as_soon_as_its_characters_are_whole(tokenizer: HubTokenizer) -> None:
    text = "Ĝis Γειά 👍🏽."
    decoder = Incremental(tokenizer, tokenizer.encode("Hej", add_bos=True))
    parts = [decoder.add(token) for token in tokenizer.encode(text)] + [decoder.end()]
    assert "".join(parts) == text and "\ufffd" not in "".join(parts)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": 1}'])
def test_what_is_no_tokenizer_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer.json (is not|does not hold)"):
        load(tmp_path / "tokenizer.json")
