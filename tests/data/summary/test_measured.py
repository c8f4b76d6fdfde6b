"""Sums over the index, compared with sums over every piece of the rows."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from varietas.data.audit.seal import seal
from varietas.data.corpus.sources import Sources, open_corpus
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.summary.consumed import Read, read_by
from varietas.data.summary.domains import registered_domain
from varietas.data.summary.measured import VIEWS, by, largest, measured, sums_of, total
from varietas.data.text.documents import Document
from varietas.data.tokenizer.training import train

L = 64


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """`hplt` has two languages, crawls and domains, and `books` has licences and no URLs."""
    folder = tmp_path_factory.mktemp("measured")

    def text(i: int) -> str:
        return f"číslo {i} " + "slovo " * (1 + i % 29)

    hplt = [
        Document(
            str(i), ("ces_Latn", "mlt_Latn")[i % 3 == 0], text(i), license="cc0-1.0",
            url=f"https://www.d{i % 7}.co.uk:80/{i}" if i % 5 else "",
            signals={"crawl": f"CC-{i % 2}", "timestamp": f"202{i % 4}-0{1 + i % 9}-03T10:00:00Z", "robots": i % 4 != 0} if i % 6 else {},
        )
        for i in range(400)
    ]  # fmt: skip
    books = [Document(str(i), "ces_Latn", text(i), source=f"library {i % 2}", license=("", "public domain")[i % 2]) for i in range(90)]
    model = train(lambda: hplt, 300)
    for name, documents in (("hplt", hplt), ("books", books)):
        prepare_documents(documents, model, folder / name)
    corpus = open_corpus(f"{folder / 'hplt'},{folder / 'books'}")
    assert isinstance(corpus, Sources)
    return corpus


@pytest.mark.parametrize("n_rows", [1, 40, 333, 800])
def test_sums_are_those_of_the_pieces(two: Sources, n_rows: int) -> None:
    stream = Stream(two, Mixture(0.5), L, 3, 50)
    read: dict[tuple[str, str, int], int] = defaultdict(int)
    for piece in stream.documents(0, n_rows):
        read[piece.source, piece.language, piece.document] += piece.size
    rows = {
        (name, code): pq.read_table(corpus.path / "index" / f"{code}-00000.parquet").to_pylist()
        for name, corpus in two.corpora.items()
        for code in corpus.languages
    }

    def keys(name: str, code: str, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "source": row["source"] or name,
            "language": code,
            "month": (row["timestamp"] or "")[:7],
            "domain": row["url"].split("/")[2].removeprefix("www.").removesuffix(":80") if row["url"] else "",
            **{field: row[field] or "" for field in ("license", "crawl")},
            **{field: row[field] for field in ("robots", "opt_out")},
        }

    tables = measured(two, read_by([(stream, 0, n_rows)]))
    found = {view: sums_of(table) for view, table in tables.items()}
    for view, fields in VIEWS.items():
        wanted: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 4)
        for (name, code, document), tokens in read.items():
            row = rows[name, code][document]
            once = min(tokens, row["tokens"])
            key = keys(name, code, row)
            for k, more in enumerate((1, row["bytes"] * once // row["tokens"], once, tokens)):
                wanted[tuple(key[field] for field in fields)][k] += more
        assert {key: [*vars(amount).values()] for key, amount in found[view].items()} == wanted
        assert total(found[view]).read == sum(piece.size for piece in stream.documents(0, n_rows))
    sizes = {domain: amount.bytes for (domain,), amount in found["domains"].items() if domain}
    most = sorted(sizes, key=lambda domain: (-sizes[domain], str(domain)))
    assert [domain for domain, _ in largest(tables["domains"], 3)] == most[:3]
    assert by(found["languages"], 1)["ces_Latn"].tokens == sum(
        a.tokens for (_, code), a in found["languages"].items() if code == "ces_Latn"
    )


def test_the_public_part_of_a_corpus_is_not_enough(two: Sources, tmp_path: Path) -> None:
    seal(two.corpora["hplt"], tmp_path / "public")
    with pytest.raises(ValueError, match="needs the sealed part"):
        measured(open_corpus(str(tmp_path / "public")), Read(()))


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.bbc.co.uk", "bbc.co.uk"),
        ("WWW.Example.DE.", "example.de"),
        ("a.b.xn--p1ai", "b.xn--p1ai"),
        ("me.blogspot.com", "blogspot.com"),
        ("city.kawasaki.jp", "city.kawasaki.jp"),  # an exception of the list
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("localhost", "localhost"),
        ("gov.uk", "gov.uk"),
        ("", ""),
    ],
)
def test_registered_domains(host: str, domain: str) -> None:
    assert registered_domain(host) == domain


def test_urls_without_a_host(tmp_path: Path) -> None:
    import pyarrow as pa

    from varietas.data.summary.domains import domains_of

    urls = pa.array(["https://user:pw@a.b.at:80/?q", "http://x.si?y", "file.txt", None, "", "urn:isbn:1", "https://c.it#z"])
    assert domains_of(urls).to_pylist() == ["b.at", "x.si", "", "", "", "", "c.it"]
