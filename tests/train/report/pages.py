"""Run folders made of small records, and a reader of the pages that are made of them."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "br"}
CODES = ("eng_Latn", "mlt_Latn", "ces_Latn")
HOSTILE = "</script><script>alert('x')</script>\"'&<b>"


class Page(HTMLParser):
    """Reads a page, refuses tags that do not balance, keeps attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data + " "


def record(step: int, **changes: Any) -> dict[str, Any]:
    entries = {code: {"loss": 3.0 + i, "tokens": 100 * (i + 1), "epochs": 0.5} for i, code in enumerate(CODES)}
    values = {"loss": 5.0 / (step + 1), "grad_norm": 0.4, "learning_rate": 1e-3, "tokens": 600, "tokens_per_second": 1000.0 + step}
    return {"step": step, **values, "mfu": None, "languages": entries} | changes


def evaluated(bits: float, trained_on: bool = True) -> dict[str, Any]:
    return {"bits_per_byte": bits, "untrained": 4.5, "unigram": 2.5, "bytes": 12345, "tokens": 300, "words": 120, "trained_on": trained_on}


def make(run: Path, records: list[dict[str, Any]] | None = None, **files: Any) -> Path:
    run.mkdir(exist_ok=True)
    for name, value in ({"config": {"seed": 7, "train": {"steps": 3, "batch_size": 8}}} | files).items():
        (run / f"{name}.json").parent.mkdir(parents=True, exist_ok=True)
        (run / f"{name}.json").write_text(json.dumps(value), "utf-8")
    if records is not None:
        (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    return run


def whole(run: Path) -> Path:
    return make(
        run,
        [record(step) for step in range(3)],
        environment={
            "varietas": "0.1.0",
            "started": "2026-11-23T20:41:00+00:00",
            "devices": "2 x cpu",
            "mesh": {"data": 1, "fsdp": 2, "tensor": 1},
            "versions": {"jax": "0.10.1"},
            "parameters": 34212352,
            "flops_per_token": 2.0e8,
            "step_memory": {"temporaries": 12884901888},
            "parameter_digest": {"step": 3, "sha256": "f00d"},
        },
        mixture={"corpus": "corpora/eu", "corpus_digest": "abcd", "languages": {c: {"weight": 0.25, "documents": 9} for c in CODES}},
        samples=[{"language": "ces_Latn", "prompt": "Ahoj", "text": ", světe"}, {"language": "arb_Arab", "prompt": "", "text": "سلام"}],
        **{
            "evaluations/declaration/3": {
                "text": "the Declaration",
                "languages": {"eng_Latn": evaluated(1.0), "mlt_Latn": evaluated(1.75), "isl_Latn": evaluated(3.25, trained_on=False)},
            }
        },
    )
