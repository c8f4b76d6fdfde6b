"""tensorflow-datasets are read without TensorFlow, from the ArrayRecord files of a builder."""

import sys
from pathlib import Path

import pytest

from varietas.data.formats.read import expand, read
from varietas.data.prepare.plan import parts_of
from varietas.data.text.documents import Document, Reject
from varietas.data.text.fields import Reading, parse_fields

pytestmark = pytest.mark.heavy("tensorflow-datasets")

BUILDER = """
import tensorflow_datasets as tfds

class Builder(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        text = tfds.features.Text()
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"text": text, "lang": text, "meta": {"title": text}}))

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(50):
            yield i, {"text": f"Věta {i}." if i else " ", "lang": "cs", "meta": {"title": f"Název {i}"}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    package = folder / "mytexts"
    package.mkdir()
    (package / "mytexts_dataset_builder.py").write_text(BUILDER, "utf-8")
    for name in ("__init__.py", "README.md", "CITATIONS.bib", "TAGS.txt"):
        (package / name).touch()
    sys.path.insert(0, str(folder))
    from mytexts.mytexts_dataset_builder import Builder  # type: ignore[import-not-found]

    Builder(data_dir=folder / "data", file_format="array_record").download_and_prepare()
    return folder / "data"


def test_a_split_is_read_whole_and_in_parts(folder: Path) -> None:
    (name,) = expand([f"tfds:mytexts?data_dir={folder}"])
    records = list(read(name))
    assert sum(isinstance(record, Reject) and record.reason == "empty text" for record in records) == 1
    texts = {record.text for record in records if isinstance(record, Document) and record.lang == "ces_Latn"}
    assert texts == {f"Věta {i}." for i in range(1, 50)}
    parts = parts_of([name], 200, Reading())
    assert len(parts) > 3
    assert [record for part in parts for record in read(name, part.begin, part.end or float("inf"))] == records
    assert "tensorflow" not in sys.modules


def test_paths_lead_to_nested_features(folder: Path) -> None:
    reading = Reading("ces_Latn", parse_fields(["text=meta.title", "lang=meta.lang", "id=text"]))
    found = {record.text: record.id for record in read(f"tfds:mytexts?data_dir={folder}", reading=reading) if isinstance(record, Document)}
    assert found == {f"Název {i}": f"Věta {i}." if i else " " for i in range(50)}


@pytest.mark.parametrize(
    ("name", "message"), [("tfds:nothing?data_dir=/x", "array_record first"), ("tfds:a?spilt=b", "unknown option spilt")]
)
def test_missing_datasets_and_unknown_options_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read(name))
