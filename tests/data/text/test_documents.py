"""Records of each collection. Their fields are taken from the descriptions of the collections; the texts are made up."""

from typing import Any

import pytest

from varietas.data.text.documents import NotADocument, from_record, language_of_path

V12 = {
    "id": 17, "document_lang": "cs", "langs": ["cs", "sk"], "scores": [0.9, 0.4], "text": "První.\nDruhý.",
    "url": "https://a.example/b", "collection": "wide16",
}  # fmt: skip
V2 = {
    "f": "./x.warc.gz", "o": 1, "s": 5, "rs": 20, "u": "https://a.example/b", "c": "text/html", "ts": "2017-01-20T08:00:00Z",
    "collection": "wide16", "lang": ["ces_Latn", "slk_Latn"], "prob": [0.98, 0.01], "text": "První.\nDruhý.",
    "seg_langs": ["ces_Latn", "ces_Latn"], "id": "0123456789abcdef0123456789abcdef", "filter": "keep", "pii": [[3, 5]],
    "doc_scores": [8.1, 9.9], "robots": "allowed",
}  # fmt: skip
V3 = {key: value for key, value in V2.items() if key not in ("collection", "robots")} | {
    "crawl_id": "CC-MAIN-2021-04", "de": "utf-8", "robotstxt": "disallowed", "html_lang": ["cs"], "cluster_size": 2,
    "web-register": {"IN": 0.81, "dtp": 0.66},
}  # fmt: skip
V4 = {key: value for key, value in V3.items() if key not in ("lang", "prob", "robotstxt")} | {
    "openlid_v2": {"lang": ["slk_Latn"], "prob": [0.5]}, "openlid_v3": {"lang": ["ces_Latn"], "prob": [0.97]},
    "glotlid_v3": {"lang": ["ces_Latn"], "prob": [0.99]}, "doc_scores": [0.81], "allowed": True, "xml": None, "md": "# x",
}  # fmt: skip
FINEWEB2 = {
    "text": "První.\nDruhý.", "id": "<urn:uuid:1>", "dump": "CC-MAIN-2021-04", "url": "https://a.example/b", "date": "2021-01-20T08:00:00Z",
    "file_path": "s3://x", "language": "ces", "language_script": "Latn", "language_score": 0.99, "top_langs": '{"ces_Latn_score": 0.99}',
    "minhash_cluster_size": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("record", "record_id", "signals"),
    [
        (V12, "17", {"crawl": "wide16"}),
        (V2, V2["id"], {"quality": 0.81, "lang_score": 0.98, "robots": True, "pii": [[3, 5]], "filter": "keep", "crawl": "wide16"}),
        (
            V3,
            V2["id"],
            {"quality": 0.81, "robots": False, "registers": {"IN": 0.81, "dtp": 0.66}, "cluster_size": 2, "crawl": "CC-MAIN-2021-04"},
        ),
        (V4, V2["id"], {"quality": 0.81, "lang_score": 0.97, "robots": True}),
        (FINEWEB2, "<urn:uuid:1>", {"lang_score": 0.99, "cluster_size": 5, "timestamp": FINEWEB2["date"], "crawl": "CC-MAIN-2021-04"}),
    ],
    ids=["HPLT v1.2", "HPLT v2", "HPLT v3", "HPLT v4", "FineWeb-2"],
)
def test_records_of_each_collection_become_documents(record: dict[str, Any], record_id: str, signals: dict[str, Any]) -> None:
    document = from_record(record, "file", 1)
    assert (document.id, document.lang, document.text, document.url) == (record_id, "ces_Latn", "První.\nDruhý.", "https://a.example/b")
    found = {name: round(value, 6) if isinstance(value, float) else value for name, value in document.signals.items()}
    assert found | signals == found


def test_only_text_and_a_language_are_needed() -> None:
    assert from_record({"text": "x"}, "f", 1, "mlt_Latn").lang == "mlt_Latn"
    document = from_record({"text": "x", "lang": "mt"}, "f", 1, "ces_Latn")  # the record takes precedence over the path
    assert (document.id, document.lang, document.url, document.signals) == ("f:1", "mlt_Latn", "", {})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([1], "not an object"),
        ({"lang": "cs"}, "no text"),
        ({"lang": "cs", "text": 5}, "text is not a string"),
        ({"lang": "cs", "text": " \n"}, "empty text"),
        ({"lang": "cs", "text": "a\0b"}, "NUL character"),
        ({"text": "a"}, "no lang"),
        ({"lang": [], "text": "a"}, "no lang"),
        ({"lang": [5], "text": "a"}, "lang is not a string"),
        ({"lang": "č š", "text": "a"}, "unusable lang"),
        ({"lang": "cs", "text": "a\ud800"}, "lone surrogate"),
        ({"lang": "cs", "text": "a", "filter": "\ud800"}, "lone surrogate"),
    ],
)
def test_unusable_records_are_rejected_with_a_reason(record: Any, reason: str) -> None:
    with pytest.raises(NotADocument, match=f"^{reason}$"):
        from_record(record, "f", 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"doc_scores": "high"}, {"doc_scores": []}, {"robots": "perhaps"}, {"robots": 7}, {"pii": [[3]]}, {"pii": [[5, 3]]},
        {"pii": "none"}, {"cluster_size": -1}, {"cluster_size": "many"}, {"cluster_size": True}, {"web-register": [1]}, {"prob": [None]},
        {"openlid_v3": "ces_Latn"},
    ],
    ids=str,
)  # fmt: skip
def test_a_signal_of_an_unexpected_type_is_left_out(odd: dict[str, Any]) -> None:
    assert from_record({"lang": "cs", "text": "a"} | odd, "f", 1).signals == {}


@pytest.mark.parametrize(
    ("path", "lang"),
    [
        ("two/cleaned/mlt_Latn/3.jsonl.zst", "mlt_Latn"),
        ("s3://bucket/data/srp_Cyrl/train/000_00000.parquet", "srp_Cyrl"),
        ("gle_Latn.txt", "gle_Latn"),
        ("gle_Latn_removed/x.parquet", "gle_Latn"),
        ("/data/eng_Latn/fao_Latn/1.jsonl", "fao_Latn"),
        ("texts/1.jsonl", ""),
        ("my_Latnfile", ""),
    ],
)
def test_the_language_is_found_in_a_path(path: str, lang: str) -> None:
    assert language_of_path(path) == lang
