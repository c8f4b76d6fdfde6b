"""The parity search: shares of the languages in a tokenizer's training text such that the same content costs each about as much.

Round by round a tokenizer is trained on a sample, what each language pays for the same content is estimated, and the weight of the
dear ones grows with the cube of their price over the median. There are two estimates: by parallel text, and by a table of how many
bytes languages need for the same content, together with the bytes a token of the language's own text. Each is some 5 % off for a
language, a little parallel text because it is little, so they are averaged; the more parallel text there is, the more it counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import sentencepiece as spm

from varietas.data.documents import Document
from varietas.data.parallel import Parallel, premiums

ROUNDS = 12
BYTES_A_PIECE = 500  # that a round trains on, for each piece of the vocabulary
POOL_PART = 8  # of a sample: what is kept of a language to draw the samples from
POWER = 3.0
AIM, DEARER = 1.08, 1.088  # what equality may cost English, which has most text: what the search steers to, and what it accepts
TRUSTED_BYTES = 5000  # of parallel text in English, with which it counts as much as the other estimate

# Bytes of the Universal Declaration of Human Rights (31 sections, Unicode's collection) over those in English.
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
    """What one round tried and found: share of each language in the sample, and tokens for the same content over English's."""

    shares: dict[str, float]
    premium: dict[str, float]
    english: float  # its tokens over those of the first round; 0 without English
    model: bytes  # the tokenizer


def search(
    pool: Mapping[str, list[str]],
    shares: Mapping[str, float],
    train: Callable[[Iterable[Document]], tuple[bytes, Callable[[str], int]]],
    sample_bytes: int,
    texts: Parallel | None = None,
    progress: Callable[[Round], None] = lambda result: None,
) -> Round:
    """The round in which the dearest language is cheapest, of those in which English is not dearer than DEARER times; the first has
    `shares`.

    `pool`: some text of each language. `train` makes a tokenizer of documents, and what counts a text's tokens with it. Of parallel
    texts only the pool's languages count.
    """
    texts = texts and {code: mine for code, mine in texts.items() if code in pool or code == "eng_Latn"}
    best: Round | None = None
    now, first = dict(shares), 0
    for _ in range(ROUNDS):
        model, count = train(_sample(pool, now, sample_bytes))
        english = sum(map(count, texts["eng_Latn"].values() if texts else pool.get("eng_Latn", [])))
        first = first or english
        result = Round(dict(now), _prices(pool, count, texts), english / max(1, first), model)
        progress(result)
        if best is None or (max(result.premium.values()) < max(best.premium.values()) and result.english <= DEARER):
            best = result
        median = float(np.median(list(result.premium.values())))
        over = {code: result.premium.get(code, median) / median for code in now}
        if result.english > AIM:
            over["eng_Latn"] = max(1.0, over["eng_Latn"]) * result.english / AIM
        now = {code: share * over[code] ** POWER for code, share in now.items()}
        total = sum(now.values())
        now = {code: share / total for code, share in now.items()}
    assert best is not None
    return best


def _prices(pool: Mapping[str, list[str]], count: Callable[[str], int], texts: Parallel | None) -> dict[str, float]:
    """Tokens for the same content over English's, by both estimates: a weighted geometric mean where a language has both."""
    by_table = estimated(pool, count)
    if not texts:
        return by_table
    by_text = premiums(texts, count)
    n = sum(len(text.encode()) for text in texts["eng_Latn"].values())
    weight = n / (n + TRUSTED_BYTES)
    both = {code: by_text[code] ** weight * by_table[code] ** (1 - weight) for code in by_text.keys() & by_table.keys()}
    return by_table | by_text | both


def counter(processor: spm.SentencePieceProcessor) -> Callable[[str], int]:
    """What counts the tokens of a text."""
    return lambda text: len(processor.encode(text))


def estimated(pool: Mapping[str, list[str]], count: Callable[[str], int]) -> dict[str, float]:
    """Premiums without parallel text: bytes that the language needs for the same content, over the bytes a token of its own text."""
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
    """Some `sample_bytes` of the pool in these shares, or fewer if the pool is small."""
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
