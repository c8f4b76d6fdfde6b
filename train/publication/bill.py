"""A bill of materials of a release in CycloneDX 1.6 (ECMA-424), with the parts for machine learning: the model, its data, the libraries.

https://cyclonedx.org/capabilities/mlbom. The kept library for CycloneDX has no model cards, so the JSON is written here; tests check it
against the schema that the library carries.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import varietas
from varietas.train.publication.openness import OPEN
from varietas.train.publication.published import Published
from varietas.train.publication.sums import lines
from varietas.train.run_folder.evaluations import Row

SPACE = uuid.UUID("0b8d7a52-7d0e-5f0c-9a0e-0e6c1a6f2d11")  # of names of releases
MODEL = "model"


def bill(of: Published) -> dict[str, Any]:
    """Returns the bill of materials as JSON. The same release gives the same bill."""
    data, libraries = _data(of), _libraries(of)
    files = [
        {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for path, (digest, _) in of.files.items()
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(SPACE, lines(of.files))}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "varietas", "version": varietas.__version__}]},
            "component": _model(of, data),
        },
        "components": [*data, *libraries, *files],
        "dependencies": [
            {"ref": MODEL, "dependsOn": [component["bom-ref"] for component in (*data, *libraries, *files)]},
        ],
    }


def _model(of: Published, data: list[dict[str, Any]]) -> dict[str, Any]:
    provider = of.said.get("provider", "name")
    cfg = of.model
    method = {"approach": {"type": "self-supervised" if not of.facts.chats else "supervised"}} if of.facts.step else {}
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": of.said.get("model", "name") or of.name,
        "version": of.facts.digest[:16],
        **({"manufacturer": {"name": provider}} if provider else {}),
        "description": f"A multilingual decoder for text in {len(of.facts.codes)} languages",
        "hashes": [{"alg": "SHA-256", "content": of.facts.digest}],
        **_license(of.said.get("release", "license")),
        "modelCard": {
            "bom-ref": "model-card",
            "modelParameters": {
                **method,
                "task": "text generation",
                "architectureFamily": "transformer",
                "modelArchitecture": f"decoder of {cfg.n_layers} layers of width {cfg.d_model}",
                "datasets": [{"ref": component["bom-ref"]} for component in data],
                "inputs": [{"format": "text"}],
                "outputs": [{"format": "text"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": _metrics(of)},
            "considerations": _considerations(of),
            "properties": _properties(of),
        },
    }


def _metrics(of: Published) -> list[dict[str, Any]]:
    return [
        {"type": f"bits per byte, {name}", "value": f"{row['bits_per_byte']}", "slice": code, **_interval(row)}
        for name, evaluation in sorted(of.evaluations.items())
        for code, row in sorted(evaluation.languages.items())
        if row.get("bits_per_byte") is not None
    ]


def _interval(row: Row) -> dict[str, Any]:
    if not (interval := row.get("interval")):
        return {}
    low, high = interval
    return {"confidenceInterval": {"lowerBound": f"{low}", "upperBound": f"{high}"}}


def _considerations(of: Published) -> dict[str, Any]:
    said = {"useCases": of.said.get("use", "intended"), "technicalLimitations": of.said.get("use", "limits")}
    return {name: [text] for name, text in said.items() if text}


def _properties(of: Published) -> list[dict[str, str]]:
    kwh = of.account.kwh if of.account else None
    figures = {
        "training:flop_by_formula": of.flops,
        "training:flop_counted": of.flops_counted,
        "training:tokens": of.tokens,
        "training:seconds": of.seconds,
        "training:kwh": kwh,
    }
    return [{"name": f"varietas:{name}", "value": f"{value:.6g}"} for name, value in figures.items() if value]


def _data(of: Published) -> list[dict[str, Any]]:
    """Returns a component for each source of the training data."""
    sources: Mapping[str, Any] = of.summary["sources"] if of.summary else {}
    return [
        {
            "type": "data",
            "bom-ref": f"data:{one['source']}",
            "name": one["source"],
            **({"description": one["description"]} if one.get("description") else {}),
            **({"externalReferences": [{"type": "distribution", "url": one["link"]}]} if one.get("link") else {}),
            "data": [{"type": "dataset", "name": one["source"], "classification": kind}],
            "properties": [
                {"name": f"varietas:{field}", "value": str(one[field])}
                for field in ("documents", "bytes", "tokens", "tokens_read", "share")
            ],
        }
        for kind, listed in sources.items()
        for one in listed
    ]


def _libraries(of: Published) -> list[dict[str, Any]]:
    return [
        {"type": "library", "bom-ref": f"library:{name}", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        for name, version in sorted(of.environment.get("versions", {}).items())
    ]


def _license(said: str | None) -> dict[str, Any]:
    if not said:
        return {}
    return {"licenses": [{"license": {"id": said} if said in OPEN else {"name": said}}]}
