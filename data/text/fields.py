"""Where records keep the fields of a document if not as usual, from arguments such as `text=content,raw_content lang=meta.language`.

A path is the name of a field, or several names with dots between them that lead to a nested field. The paths that are given for a
field of the document replace the usual names of that field only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Literal

from varietas.data.hints import nearest

DEPTH = 3  # levels of nested fields that are listed
LISTED = 40  # maximum number of fields that are listed

Paths = tuple[str, ...]
Kind = Literal["text", "chat", "preferences"]  # a text, a conversation, or two conversations of which one is better


@dataclass(frozen=True)
class Fields:
    """Dotted paths to each field of a document. The first path with a value counts. Without paths, the usual field names are used."""

    text: Paths = ()
    lang: Paths = ()
    id: Paths = ()
    url: Paths = ()
    source: Paths = ()
    license: Paths = ()


@dataclass(frozen=True)
class Reading:
    """How records become documents, as far as the user decides it."""

    default_lang: str = ""  # language if neither the record nor the path names one; "guess" identifies it from the text
    fields: Fields = Fields()
    kind: Kind = "text"  # what records are


USUAL = Reading()


def parse_fields(arguments: Sequence[str]) -> Fields:
    """Parses arguments of the form NAME=PATH[,PATH…].

    Raises:
        ValueError: If a name is unknown or given twice, or if a path is missing.
    """
    names = [field.name for field in fields(Fields)]
    paths: dict[str, Paths] = {}
    for argument in arguments:
        name, _, said = argument.partition("=")
        if name not in names:
            raise ValueError(
                f"--fields {argument}: unknown field {name!r}; did you mean {nearest(name, names)}=? The fields are {', '.join(names)}"
            )
        if name in paths:
            raise ValueError(f"--fields {argument}: {name} is given twice; give all its paths at once, as in {name}=PATH,PATH")
        paths[name] = tuple(said.split(","))
        if not all(paths[name]):
            raise ValueError(f"--fields {argument}: a path is missing; write {name}=PATH or {name}=PATH,PATH, as in text=content,doc.text")
    return Fields(**paths)


def find(record: object, path: str) -> object:
    """Returns the value at a path, or None if there is none. A field whose own name has the dots takes precedence over nested fields."""
    if not isinstance(record, dict):
        return None
    value = record.get(path)
    if value is not None or "." not in path:
        return value
    dots = [at for at, character in enumerate(path) if character == "."]
    nested = (find(record.get(path[:at]), path[at + 1 :]) for at in reversed(dots))
    return next((value for value in nested if value is not None), None)


def paths_in(record: dict[str, Any]) -> str:
    """Lists the paths at which a record has values, in the form that `parse_fields` takes."""
    return ", ".join(islice(_paths(record, "", DEPTH), LISTED))


def _paths(record: dict[str, Any], prefix: str, depth: int) -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, dict) and value and depth > 1:
            yield from _paths(value, f"{prefix}{name}.", depth - 1)
        elif value is not None:
            yield prefix + str(name)
