"""The default corpus. It is made once from the text of the `eld` package and kept in the user's cache."""

import os
import shutil
import socket
from pathlib import Path

from varietas.data.files import cache_folder

VERSION = 3  # raised when the same text gives another corpus


def default_corpus(vocab_size: int) -> Path:
    """Returns the folder of the default corpus for a tokenizer with `vocab_size` pieces. The first call makes it, which takes seconds.

    Raises:
        ValueError: If the text is missing, or if it is too little for so many pieces.
    """
    path = cache_folder() / "corpora" / f"eld-v{VERSION}-{vocab_size}"
    if not path.exists():  # the imports are here because most calls do not need them
        from varietas.data.prepare.prepare import prepare_documents
        from varietas.data.text.embedded import training_documents
        from varietas.data.tokenizer.training import train

        documents, own = list(training_documents()), path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
        prepare_documents(documents, train(lambda: documents, vocab_size), own)
        try:
            own.rename(path)
        except OSError:  # another process, perhaps one of the same run, has made the same corpus meanwhile
            shutil.rmtree(own)
            if not path.exists():
                raise
    return path
