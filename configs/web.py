"""The base config with all cleaning switched on, for text from the web that nobody has cleaned yet.

    varietas prepare --config web --input 'crawl/*.warc.gz' --out corpus --tokenizer euro.model

It runs on any machine and cleans 3 to 4 MB of text per second and core. Rejected documents are listed in rejects.jsonl of the corpus, each
with its reason. Read some of them before you trust the cleaning of a language that you do not know.
"""

from ml_collections import ConfigDict

from varietas.configs import base


def get_config() -> ConfigDict:
    c = base.get_config()
    with c.unlocked():
        c.clean.verdicts = True
        c.clean.unicode = True
        c.clean.language = True
        c.clean.min_chars = 200
        c.clean.rules = True
        c.clean.pii = "mask"
        c.clean.duplicates = "near"
        c.clean.overlap = True
        c.clean.held_out = 0.001
    return c
