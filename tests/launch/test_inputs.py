"""The documents that flags name: files, a prepared corpus, or the embedded text; what is left out is told once."""

import io
from pathlib import Path

from rich.console import Console

from varietas.data.text.embedded import training_documents
from varietas.data.text.fields import Reading, parse_fields
from varietas.launch.inputs import documents_of


def test_each_reason_for_leaving_records_out_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    lines = ['{"lang":"cs","body":"jedna"}', "{", '{"lang":"cs"}', "{", '{"lang":"cs","body":"dva","robots":"disallowed"}']
    file.write_text("\n".join([*lines, lines[-1], '{"lang":"cs","body":"tři"}']), "utf-8")
    console = Console(file=io.StringIO(), width=400)
    read = documents_of("--text", [str(file)], console, Reading(fields=parse_fields(["text=body"])))
    for _ in range(2):  # a tokenizer is trained on documents that are read twice
        assert [document.text for document in read()] == ["jedna", "tři"]
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        f"left out {file}, line 2: invalid JSON; others like it are not shown",
        f"left out {file}, line 3: no text; others like it are not shown",
        f"left out {file}, line 5: opted out: robots.txt; others like it are not shown",
    ]


def test_without_files_the_embedded_text_is_read_and_a_corpus_gives_its_text_back(corpus_folder: Path) -> None:
    quiet = Console(file=io.StringIO())
    texts = {(document.lang, document.text) for document in training_documents()}
    for patterns in ([], [str(corpus_folder)]):
        found = [(document.lang, document.text) for document in documents_of("--input", patterns, quiet)()]
        assert len(found) == len(texts) == 33 * 84 and set(found) == texts
    assert quiet.file.getvalue() == ""  # type: ignore[attr-defined]
