"""Published benchmarks, in the form in which they are distributed; lm_eval's own tasks say how they are asked."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from varietas.data.benchmarks.published import read

BELEBELE = {
    "link": "https://en.wikibooks.org/wiki/x", "question_number": 1, "flores_passage": "Il-qattus jorqod.", "question": "X'jagħmel? ",
    "mc_answer1": "Jiekol", "mc_answer2": "Jorqod", "mc_answer3": "Jiġri", "mc_answer4": "Jaqra", "correct_answer_num": "2",
    "dialect": "mlt_Latn", "ds": "2023-05-03",
}  # fmt: skip
INCLUDE = {
    "language": "Estonian", "country": "Estonia", "domain": "Humanities", "subject": "History", "regional_feature": "region explicit",
    "level": "Academic", "question": "Millal? ", "choices": ["1918", "1920", "1940", "1991"], "answer": 0,
}  # fmt: skip
ARC = {"id": "M1", "question": "Was ist Eis?", "choices": {"text": ["Stein", "Wasser", "Luft"], "label": ["A", "B", "C"]}, "answerKey": "B"}
HELLASWAG = {
    "ind": 1, "activity_label": "Kochen", "ctx_a": "[header] Suppe [title] Ein Mann kocht.", "ctx_b": "er", "ctx": "…",
    "endings": ["rührt [step] um.", "fliegt.", "singt.", "schläft."], "source_id": "x", "split": "val", "label": "3",
}  # fmt: skip
MMLU = {"question": "Was ist 2 + 2?", "subject": "arithmetic", "choices": ["1", "2", "3", "4"], "answer": 3}
GSM8K = {"question": "Wie viele?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}
TRUTHFULQA = {
    "question": "Was passiert?", "mc1_targets": {"choices": ["Falsch", "Nichts"], "labels": [0, 1]},
    "mc2_targets": {"choices": ["Nichts", "Falsch"], "labels": [1, 0]},
}  # fmt: skip


def lines(path: Path, *records: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return str(path)


def only(*files: str) -> dict[str, Any]:
    (task,) = read(list(files))
    (record,) = task.records
    return {"name": task.name, "form": task.form, "chance": task.chance, **record}


def test_belebele_is_asked_as_lm_eval_asks_it(tmp_path: Path) -> None:
    found = only(lines(tmp_path / "mlt_Latn.jsonl", BELEBELE))
    assert found["name"] == "varietas_belebele_mlt_Latn" and found["chance"] == 0.25
    assert found["context"] == "P: Il-qattus jorqod.\nQ: X'jagħmel?\nA: Jiekol\nB: Jorqod\nC: Jiġri\nD: Jaqra\nAnswer:"
    assert found["choices"] == ["A", "B", "C", "D"] and found["answer"] == 1


@pytest.mark.parametrize("spelt", ["choices", "options"])
def test_include_has_choices_or_options_and_keeps_where_a_question_is_from(tmp_path: Path, spelt: str) -> None:
    options = {f"option_{letter}": text for letter, text in zip("abcd", INCLUDE["choices"], strict=True)}
    record = INCLUDE if spelt == "choices" else {k: v for k, v in INCLUDE.items() if k != "choices"} | options
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "test.parquet")
    found = only(str(tmp_path / "test.parquet"))
    assert found["name"] == "varietas_include_ekk_Latn" and found["answer"] == 0
    assert found["context"] == "Millal?\nA. 1918\nB. 1920\nC. 1940\nD. 1991\nAnswer:"
    assert found["regional_feature"] == "region explicit" and found["subject"] == "History"


def test_multiblimp_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "mlt").mkdir()
    table = 'sen\twrong_sen\tphenomenon\nIl-kelb "kbir" jorqod\tIl-kelb "kbir" jorqdu\tSV-#\n'
    (tmp_path / "mlt/data.tsv").write_text(table, "utf-8")
    found = only(str(tmp_path / "mlt/data.tsv"))
    assert found["name"] == "varietas_multiblimp_mlt_Latn" and found["form"] == "sentence" and found["chance"] == 0.5
    assert found["choices"] == ['Il-kelb "kbir" jorqod', 'Il-kelb "kbir" jorqdu'] and found["answer"] == 0 and found["phenomenon"] == "SV-#"


def test_eu20_names_its_language_in_the_file(tmp_path: Path) -> None:
    arc = only(lines(tmp_path / "arc_challenge_DE_test.jsonl", ARC))
    assert arc["name"] == "varietas_arc_deu_Latn" and arc["choices"] == ["Stein", "Wasser", "Luft"] and arc["answer"] == 1
    assert arc["context"] == "Question: Was ist Eis?\nAnswer:" and arc["chance"] == pytest.approx(1 / 3)
    hellaswag = only(lines(tmp_path / "hellaswag_PT-PT_validation.jsonl", HELLASWAG))
    assert hellaswag["name"] == "varietas_hellaswag_por_Latn" and hellaswag["answer"] == 3
    assert hellaswag["context"] == "Kochen: Suppe. Ein Mann kocht. Er" and hellaswag["choices"][0] == "rührt um."
    mmlu = only(lines(tmp_path / "mmlu_ET.jsonl", MMLU))
    assert mmlu["name"] == "varietas_mmlu_ekk_Latn" and mmlu["choices"] == ["A", "B", "C", "D"] and mmlu["answer"] == 3
    assert mmlu["context"].startswith("Was ist 2 + 2?\nA. 1\n") and mmlu["subject"] == "arithmetic"
    gsm8k = only(lines(tmp_path / "gsm8k_FI_test.jsonl", GSM8K))
    assert gsm8k["form"] == "number" and gsm8k["target"].endswith("#### 7") and gsm8k["chance"] == 0.0
    truthful = only(lines(tmp_path / "truthfulqa_mc_DA.jsonl", TRUTHFULQA))
    assert truthful["name"] == "varietas_truthfulqa_dan_Latn" and truthful["choices"][truthful["answer"]] == "Nichts"


def test_files_of_a_benchmark_and_language_are_read_together(tmp_path: Path) -> None:
    plain = lines(tmp_path / "arc_challenge_DE_test.jsonl", ARC)
    packed = tmp_path / "arc_easy_DE_test.jsonl.gz"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))
    (task,) = read([plain, str(packed)])
    assert len(task.records) == 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**BELEBELE, "mc_answer3": None}, "record 2: field 'mc_answer3' is 'None'; expected text (belebele)"),
        ({k: v for k, v in BELEBELE.items() if k != "question"}, "record 2: field 'question' is missing; found link, "),
        ({**BELEBELE, "correct_answer_num": "5"}, "record 2: field 'correct_answer_num' is '5'; expected which of 4 answers is right"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_record(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'x.jsonl'}, {message}")):
        read([lines(tmp_path / "x.jsonl", BELEBELE, record)])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**ARC, "answerKey": "D"}, "field 'answerKey' is 'D'; expected one of A, B, C"),
        ({**HELLASWAG, "label": ""}, "field 'label' is ''"),
        ({**GSM8K, "answer": "7"}, "ends with '#### ' and a number"),
        ({**TRUTHFULQA, "mc1_targets": {"choices": ["a", "b"], "labels": [0, 0]}}, "of which one is 1"),
        (
            {"text": "Ahoj"},
            "is of no benchmark that is known: it has the fields text; expected those of one of these: belebele: ",
        ),
    ],
)
def test_other_mistakes_are_named(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read([lines(tmp_path / "some_DE.jsonl", record)])


def test_a_language_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no language: neither the record nor the name of the file has one; give it with --lang"):
        read([lines(tmp_path / "arc.jsonl", ARC)])
    assert read([lines(tmp_path / "arc.jsonl", ARC)], "deu_Latn")[0].lang == "deu_Latn"
    (tmp_path / "bad.jsonl").write_text('{"question": \n')
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 1 is not JSON"):
        read([str(tmp_path / "bad.jsonl")])
