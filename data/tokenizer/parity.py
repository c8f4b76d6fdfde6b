"""The parity search: finds shares of a tokenizer's training text with which the same content costs about as many tokens in each language.

In every round, a tokenizer is trained on a sample, the cost of the same content is estimated for each language, and the weight of a
language grows with the cube of its cost over the median. There are two estimates of the cost. One uses parallel text. The other uses a
table of how many bytes each language needs for the same content, and the bytes per token of the language's own text. Either is some
5 % off for a language (parallel text because there is little of it), so the two are averaged. The more parallel text there is, the more
it counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from varietas.data.text.documents import Document
from varietas.data.tokenizer.parallel import Parallel, premiums

ROUNDS = 12
BYTES_A_PIECE = 500  # training text of a round, for each piece of the vocabulary
POOL_PART = 8  # samples are drawn from a pool that holds 1/8 of a sample of each language
POWER = 3.0
ENGLISH_AIM, ENGLISH_LIMIT = 1.08, 1.088  # how expensive English, which has most text, may become over the first round: target and limit
TRUSTED_BYTES = 5000  # of English parallel text, with which that estimate counts as much as the other one

# Bytes of the Universal Declaration of Human Rights (31 sections, Unicode's collection) in each language, over those in English.
BYTES_OVER_ENGLISH = {
    "bul_Cyrl": 1.97, "ces_Latn": 1.04, "dan_Latn": 1.04, "deu_Latn": 1.14, "ell_Grek": 2.16, "eng_Latn": 1.0, "spa_Latn": 1.13,
    "ekk_Latn": 1.04, "fin_Latn": 1.08, "fra_Latn": 1.17, "gle_Latn": 1.14, "hrv_Latn": 0.95, "hun_Latn": 1.25, "ita_Latn": 1.13,
    "lit_Latn": 1.09, "lvs_Latn": 1.09, "mlt_Latn": 1.12, "nld_Latn": 1.21, "pol_Latn": 1.1, "por_Latn": 1.1, "ron_Latn": 1.19,
    "slk_Latn": 1.04, "slv_Latn": 1.01, "swe_Latn": 1.04, "als_Latn": 1.14, "bos_Latn": 0.96, "cnr_Latn": 0.94, "kat_Geor": 3.01,
    "mkd_Cyrl": 1.85, "srp_Cyrl": 1.63, "srp_Latn": 0.94, "tur_Latn": 1.05, "ukr_Cyrl": 1.85, "ast_Latn": 1.13, "bel_Cyrl": 1.96,
    "bre_Latn": 1.01, "cat_Latn": 1.07, "cos_Latn": 1.1, "cym_Latn": 0.97, "eus_Latn": 1.04, "fao_Latn": 0.99, "fur_Latn": 1.05,
    "gla_Latn": 1.13, "glg_Latn": 1.08, "hye_Armn": 1.94, "isl_Latn": 1.06, "lij_Latn": 1.1, "ltz_Latn": 1.2, "nno_Latn": 0.95,
    "nob_Latn": 0.97, "oci_Latn": 1.18, "roh_Latn": 1.12, "sme_Latn": 1.22, "vec_Latn": 1.12, "wln_Latn": 1.23, "arb_Arab": 1.28,
    "cmn_Hans": 0.75, "hin_Deva": 2.65, "jpn_Jpan": 1.16, "kor_Hang": 1.08, "rus_Cyrl": 2.05,
}  # fmt: skip


@dataclass(frozen=True)
class Round:
    """What one round of the search tried and found."""

    shares: dict[str, float]  # of each language in the sample
    premium: dict[str, float]  # tokens of each language for the same content, over those of English
    english: float  # tokens of English over those of the first round; 0 without English
    model: bytes  # the tokenizer


def search(
    pool: Mapping[str, list[str]],
    shares: Mapping[str, float],
    train: Callable[[Iterable[Document]], tuple[bytes, Callable[[str], int]]],
    sample_bytes: int,
    texts: Parallel | None = None,
    progress: Callable[[Round], None] = lambda result: None,
) -> Round:
    """Searches for shares with which the most expensive language costs as little as possible.

    Args:
        pool: Some text of each language.
        shares: Share of each language in the first round.
        train: Trains a tokenizer on documents and returns it, with a function that counts the tokens of a text.
        sample_bytes: Size of the sample of a round.
        texts: Parallel text. Languages that are not in the pool are ignored, except for English.
        progress: Called with every round.

    Returns:
        The round whose highest premium is lowest, among those in which English costs at most ENGLISH_LIMIT times as much as in the first.

    Raises:
        ValueError: If there is neither parallel text nor a language of the pool in the table.
    """
    texts = texts and {code: mine for code, mine in texts.items() if code in pool or code == "eng_Latn"}
    best: Round | None = None
    now, first = dict(shares), 0
    for _ in range(ROUNDS):
        model, count = train(_sample(pool, now, sample_bytes))
        english = sum(map(count, texts["eng_Latn"].values() if texts else pool.get("eng_Latn", [])))
        first = first or english
        result = Round(dict(now), _premiums(pool, count, texts), english / max(1, first), model)
        progress(result)
        if best is None or (max(result.premium.values()) < max(best.premium.values()) and result.english <= ENGLISH_LIMIT):
            best = result
        median = float(np.median(list(result.premium.values())))
        over = {code: result.premium.get(code, median) / median for code in now}
        if result.english > ENGLISH_AIM:
            over["eng_Latn"] = max(1.0, over["eng_Latn"]) * result.english / ENGLISH_AIM
        now = {code: share * over[code] ** POWER for code, share in now.items()}
        total = sum(now.values())
        now = {code: share / total for code, share in now.items()}
    assert best is not None
    return best


def _premiums(pool: Mapping[str, list[str]], count: Callable[[str], int], texts: Parallel | None) -> dict[str, float]:
    """Returns the premium of each language: the weighted geometric mean of both estimates, or the only one that there is."""
    by_table = estimated(pool, count)
    if not texts:
        return by_table
    by_text = premiums(texts, count)
    n = sum(len(text.encode()) for text in texts["eng_Latn"].values())
    weight = n / (n + TRUSTED_BYTES)
    both = {code: by_text[code] ** weight * by_table[code] ** (1 - weight) for code in by_text.keys() & by_table.keys()}
    return by_table | by_text | both


def estimated(pool: Mapping[str, list[str]], count: Callable[[str], int]) -> dict[str, float]:
    """Estimates the premium of each language without parallel text.

    The cost of a language is the number of bytes that it needs for the same content, divided by the bytes per token of its own text. The
    premium is that over the cost of English, or over the median cost if there is no English.

    Args:
        pool: Some text of each language.
        count: Counts the tokens of a text.

    Raises:
        ValueError: If the table has none of the languages.
    """
    cost = {}
    for code, texts in pool.items():
        if code in BYTES_OVER_ENGLISH:
            some = texts[:: max(1, len(texts) // 200)]
            cost[code] = BYTES_OVER_ENGLISH[code] * sum(map(count, some)) / max(1, sum(len(text.encode()) for text in some))
    if not cost:
        raise ValueError(f"the parity search has no measure for {', '.join(list(pool)[:5])}; give it parallel text with --parallel")
    base = cost.get("eng_Latn") or float(np.median(list(cost.values())))
    return {code: value / base for code, value in cost.items()}


def _sample(pool: Mapping[str, list[str]], shares: Mapping[str, float], sample_bytes: int) -> Iterable[Document]:
    """Yields about `sample_bytes` of the pool in these shares, or fewer if the pool is small. Texts are repeated where needed."""
    size = {code: sum(len(text.encode()) for text in texts) for code, texts in pool.items()}
    scale = min(sample_bytes, 3 * sum(size.values()))
    for code, texts in pool.items():
        left = shares[code] * scale
        while left > 0:
            for text in texts:
                yield Document("", code, text)
                left -= len(text.encode())
                if left <= 0:
                    break
