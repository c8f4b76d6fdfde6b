"""Several corpora that are read as one. Each corpus is a source, known by the name of its folder."""

import hashlib
import json
from pathlib import Path
from typing import Any

from varietas.data.corpus.corpus import Corpus
from varietas.data.files import split_paths

COUNTS = ("documents", "tokens", "bytes")


class Sources:
    """Several corpora with the same tokenizer, with the attributes of a Corpus that other modules need. Only the paths are pickled."""

    def __init__(self, *corpora: Corpus):
        """Joins corpora.

        Raises:
            ValueError: If two corpora have the same name, or different tokenizers or chat templates.
        """
        self.corpora = {corpus.path.name: corpus for corpus in corpora}
        if len(self.corpora) < len(corpora):
            raise ValueError("data.corpus names two folders of the same name, by which sources are told apart; rename one")
        first = corpora[0]
        for corpus in corpora:
            if corpus.manifest["tokenizer_digest"] != first.manifest["tokenizer_digest"]:
                raise ValueError(f"data.corpus: {corpus.path} has another tokenizer than {first.path}; prepare both with the same one")
        templates = {file.read_bytes(): file for corpus in corpora if (file := corpus.chat_template)}
        if len(templates) > 1:
            one, other, *_ = templates.values()
            raise ValueError(f"data.corpus: {other.parent} has another chat template than {one.parent}; prepare both with the same one")
        self.chat_template = next(iter(templates.values()), None)
        self.path = Path(",".join(str(corpus.path) for corpus in corpora))
        self.languages = tuple(sorted({code for corpus in corpora for code in corpus.languages}))
        self.pad_id, self.tokenizer = first.pad_id, first.tokenizer
        self.digest = hashlib.sha256(json.dumps({name: corpus.digest for name, corpus in self.corpora.items()}).encode()).hexdigest()
        self.manifest: dict[str, Any] = {
            **first.manifest,
            "languages": {
                code: {field: sum(c.manifest["languages"].get(code, {}).get(field, 0) for c in corpora) for field in COUNTS}
                for code in self.languages
            },
        }

    def __reduce__(self) -> tuple[Any, tuple]:
        return Sources, tuple(self.corpora.values())

    def tokens(self, code: str) -> int:
        """Returns the number of tokens of a language in all sources."""
        return self.manifest["languages"][code]["tokens"]


def open_corpus(paths: str) -> Corpus | Sources:
    """Opens a corpus, or several corpora whose paths are separated by commas (see `files.split_paths`).

    Raises:
        ValueError: If there is no path, if a path is not a prepared corpus, or if the corpora cannot be combined.
    """
    corpora = [Corpus(path) for path in split_paths(paths, ",")]
    if not corpora:
        raise ValueError(f"data.corpus={paths!r} names no folder; give one, or several with commas between them")
    return corpora[0] if len(corpora) == 1 else Sources(*corpora)


def sources_of(corpus: Corpus | Sources) -> dict[str, Corpus]:
    """Returns the corpus of each source, by name. A corpus that stands alone has the name ""."""
    return corpus.corpora if isinstance(corpus, Sources) else {"": corpus}
