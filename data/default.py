"""The embedded default corpus: made once from the text that comes with the `eld` package, kept in the user's cache."""

from pathlib import Path

from varietas.data import embedded, tokenizer
from varietas.data.documents import Document
from varietas.data.files import cache_folder
from varietas.data.prepare import prepare_documents

VERSION = 2  # raise when the same text would give another corpus


def training_documents() -> list[Document]:
    return [Document(**record) for record in embedded.training_documents()]


def parallel_documents() -> list[Document]:
    return [Document(**record) for record in embedded.parallel_documents()]


def default_corpus(vocab_size: int) -> Path:
    """The default corpus under a tokenizer of `vocab_size` pieces; the first call makes it, in seconds.

    Raises ValueError if the text is missing or too little for so many pieces.
    """
    path = cache_folder() / "corpora" / f"eld-v{VERSION}-{vocab_size}"
    if not path.exists():
        documents = training_documents()
        prepare_documents(documents, tokenizer.train(lambda: documents, vocab_size), path)
    return path
