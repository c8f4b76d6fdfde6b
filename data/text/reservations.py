"""What a record or a page says of its use by machines: robots.txt, and reservations of rights against text and data mining.

A reservation is that of the TDM Reservation Protocol (W3C TDMRep, `tdm-reservation: 1`), `noai` or `noimageai` for robots (X-Robots-Tag or
<meta name="robots">), an ai.txt that disallows, or the plain word of a collection. Each may stand in a field of a record, too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Verdict = bool | None  # None if nothing is said

_ALLOWED = {"allowed": True, "allow": True, "disallowed": False, "disallow": False}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_NO_AI = re.compile(r"\bno(?:image)?ai\b", re.IGNORECASE)


def allows(value: object) -> Verdict:
    """Returns whether robots.txt or ai.txt allows crawlers, by the words of a collection: "disallowed", or whether it is allowed."""
    return value if isinstance(value, bool) else _ALLOWED.get(value.strip().lower()) if isinstance(value, str) else None


def is_set(value: object) -> Verdict:
    """Returns whether a flag such as `tdm-reservation` is set. By the protocol, any other value than 0 and 1 says nothing."""
    if isinstance(value, float) and value.is_integer():  # as tables write whole numbers among which some are missing
        value = int(value)
    return _FLAGS.get(str(value).strip().lower()) if isinstance(value, (bool, int, str)) else None


def forbids_ai(value: object) -> Verdict:
    """Returns whether directives for robots, as text or as a list of texts, have `noai` or `noimageai`; None if they have neither."""
    texts = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(text, str) and _NO_AI.search(text) for text in texts) or None


def _disallows(value: object) -> Verdict:
    allowed = allows(value)
    return None if allowed is None else not allowed


_ROBOTS = ("robots", "robotstxt", "allowed")  # of HPLT v2, v3 and v4
_FIELDS: dict[str, Callable[[object], Verdict]] = {  # `tdm-policy` says where a licence can be had, and reserves nothing by itself
    **dict.fromkeys(("opt_out", "optout", "noai", "tdm-reservation", "tdm_reservation"), is_set),
    **dict.fromkeys(("x-robots-tag", "X-Robots-Tag", "x_robots_tag", "meta_robots", "robots_meta"), forbids_ai),
    **dict.fromkeys(("ai.txt", "ai_txt", "aitxt"), _disallows),
}


def robots_of(record: Mapping[str, Any]) -> Verdict:
    """Returns whether robots.txt allows crawlers to read the page of a record."""
    return next((allows(record[name]) for name in _ROBOTS if record.get(name) is not None), None)


def reservation_of(record: Mapping[str, Any]) -> Verdict:
    """Returns whether a field of a record reserves rights against text and data mining; False if fields only say that none are."""
    return one_of(states(record[name]) for name, states in _FIELDS.items() if record.get(name) is not None)


def one_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Returns whether one of several places has a reservation; None if none of them says anything."""
    said = [verdict for verdict in verdicts if verdict is not None]
    return any(said) if said else None
