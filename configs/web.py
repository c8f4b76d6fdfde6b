"""The base config with all cleaning switched on: for text from the web that nobody has cleaned yet.

    varietas prepare --config web --input 'crawl/*.warc.gz' --out corpus --tokenizer euro.model

Any machine; 2 to 3 MB of text a second and core. What a step rejects is in the corpus' rejects.jsonl with its reason: read some before
you trust it with a language that you do not know.
"""

from ml_collections import ConfigDict

from varietas.configs import base


def get_config(arg: str = "") -> ConfigDict:
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
    return c
