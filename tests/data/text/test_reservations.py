"""Opt-outs in the fields of records."""

from typing import Any

import pytest

from varietas.data.text.documents import from_record


@pytest.mark.parametrize(
    ("fields", "signals"),
    [
        ({"robots": "Disallowed"}, {"robots": False}),
        ({"robotstxt": "allow"}, {"robots": True}),
        ({"allowed": False}, {"robots": False}),
        ({"robotstxt": None, "allowed": True}, {"robots": True}),
        ({"tdm-reservation": 1}, {"opt_out": True}),
        ({"tdm-reservation": "1"}, {"opt_out": True}),
        ({"tdm_reservation": 1.0}, {"opt_out": True}),
        ({"tdm_reservation": True}, {"opt_out": True}),
        ({"tdm-reservation": 0}, {"opt_out": False}),
        ({"tdm-reservation": 2}, {}),
        ({"tdm-policy": "https://a.example/licence"}, {}),
        ({"tdm-reservation": 1, "tdm-policy": "https://a.example/licence"}, {"opt_out": True}),
        ({"x-robots-tag": "noindex, noai"}, {"opt_out": True}),
        ({"X-Robots-Tag": ["noindex", "noimageai"]}, {"opt_out": True}),
        ({"meta_robots": "noindex"}, {}),
        ({"ai.txt": "disallowed"}, {"opt_out": True}),
        ({"ai_txt": False}, {"opt_out": True}),
        ({"aitxt": "allow"}, {"opt_out": False}),
        ({"opt_out": False, "tdm-reservation": "1"}, {"opt_out": True}),
        ({"opt_out": False}, {"opt_out": False}),
        ({"noai": "true"}, {"opt_out": True}),
        ({"opt_out": [1], "ai.txt": 7, "x-robots-tag": {"a": "noai"}}, {}),
    ],
    ids=str,
)
def test_fields_become_signals(fields: dict[str, Any], signals: dict[str, bool]) -> None:
    assert from_record({"lang": "cs", "text": "a"} | fields, "f", 1).signals == signals
