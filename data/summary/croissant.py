"""The metadata of a corpus in the format Croissant 1.0 of MLCommons, which catalogues of datasets and their loaders read.

It describes the files of the corpus folder and the columns of the index, from the manifest. Only the licences take a pass over the index.
The file belongs into the corpus folder: paths in it are relative to that.
"""

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.index import INDEX, index_errors
from varietas.data.text.documents import SIGNALS
from varietas.data.text.languages import find

VERSION = "http://mlcommons.org/croissant/1.0"
CONTEXT = {  # that of the specification
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace",
            "samplingRate", "separator", "source", "subField", "transform",
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}  # fmt: skip
TYPES = {pa.string(): "sc:Text", pa.uint32(): "sc:Integer", pa.float32(): "sc:Float", pa.bool_(): "sc:Boolean"}
COLUMNS = {
    "id": "the id of the document in its source",
    "source": "where the text comes from",
    "url": "the page that the text was on",
    "license": "the licence of the text",
    "bytes": "bytes of the text in UTF-8",
    "tokens": "tokens of the text",
    **SIGNALS,
}
FILES = {  # beside the tokens and the index, where a corpus has them
    "manifest.json": ("application/json", "counts, digests and how the corpus was prepared"),
    "commitment/commitment.json": ("application/json", "the roots of the trees over the documents"),
    "tokenizer.model": ("application/octet-stream", "the tokenizer, of SentencePiece"),
    "tokenizer.json": ("application/json", "the tokenizer"),
    "chat_template.jinja": ("text/plain", "the chat template of the conversations"),
}


def croissant(corpus: Corpus) -> dict[str, Any]:
    """Returns the metadata of a corpus as JSON-LD.

    Raises:
        ValueError: If an index is damaged.
    """
    codes = [found.iso639_1 if (found := find(code)) and found.iso639_1 else code for code in corpus.languages]
    counts = f"{sum(map(corpus.documents, corpus.languages)):,} documents, {sum(map(corpus.tokens, corpus.languages)):,} tokens"
    listed = licenses(corpus)
    files = [_file(corpus, name, kind, what) for name, (kind, what) in FILES.items() if (corpus.path / name).exists()]
    sets = [_file_set("index-files", "index/*.parquet", "application/x-parquet", "what is known of each document")]
    if not corpus.sealed:
        what = "the tokens of each document, as ArrayRecord"
        sets.append(_file_set("token-files", "tokens/*.array_record", "application/octet-stream", what))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": corpus.path.resolve().name,
        "description": f"A text corpus for language models in {len(codes)} languages, prepared with Varietas: {counts}.",
        "version": f"1.0.0+{corpus.digest[:16]}",
        "inLanguage": list(dict.fromkeys(codes)),  # a language may have two scripts
        **({"license": listed} if listed else {}),
        "rai:dataPreprocessingProtocol": json.dumps(corpus.manifest.get("cleaning", {})),
        "distribution": [*files, *sets],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "documents",
                "name": "documents",
                "description": "The documents of the corpus, in the order of its languages.",
                "field": [_language(), *(_field(name, what) for name, what in COLUMNS.items() if INDEX.field(name).type in TYPES)],
            }
        ],
    }


def licenses(corpus: Corpus) -> list[str]:
    """Returns the licences that documents of a corpus have, without "" of those that state none."""
    found = set[str]()
    for file in sorted((corpus.path / "index").glob("*.parquet")):
        with index_errors(file):
            found |= set(pc.unique(pq.read_table(file, columns=["license"])["license"]).to_pylist())
    return sorted(filter(None, found))


def _file(corpus: Corpus, name: str, kind: str, what: str) -> dict[str, Any]:
    content = (corpus.path / name).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": what,
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": kind,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _file_set(name: str, files: str, kind: str, what: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "description": what, "encodingFormat": kind, "includes": files}


def _field(name: str, what: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"documents/{name}",
        "name": name,
        "description": what,
        "dataType": TYPES[INDEX.field(name).type],
        "source": {"fileSet": {"@id": "index-files"}, "extract": {"column": name}},
    }


def _language() -> dict[str, Any]:
    """Returns the field of the language, which the name of an index file has."""
    extract = {"extract": {"fileProperty": "filename"}, "transform": {"regex": r"^(.+)-\d+\.parquet$"}}
    return {
        "@type": "cr:Field",
        "@id": "documents/language",
        "name": "language",
        "description": "the language and script of the text, by ISO 639-3 and ISO 15924",
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": "index-files"}, **extract},
    }
