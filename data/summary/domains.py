"""The registered domains of URLs: `bbc.co.uk` of https://www.bbc.co.uk/news, by the Public Suffix List of the package publicsuffixlist."""

from functools import cache, lru_cache

import pyarrow as pa
import pyarrow.compute as pc
from publicsuffixlist import PublicSuffixList

HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]+)"
KEPT = 1 << 20  # hosts whose domain is remembered


def domains_of(urls: pa.Array) -> pa.Array:
    """Returns the registered domain of each URL, in lower case: the host itself where none is registered, "" where there is no URL."""
    hosts = pc.fill_null(pc.struct_field(pc.extract_regex(urls, HOST), 0), "").dictionary_encode()
    return pa.array([registered_domain(host) for host in hosts.dictionary.to_pylist()], pa.string()).take(hosts.indices)


@lru_cache(KEPT)
def registered_domain(host: str) -> str:
    """Returns the domain of a host that someone has registered, or the host itself if it is an address or has none."""
    host = host.lower().removesuffix(".")
    is_address = host.startswith("[") or host[-1:].isdigit()  # no top-level domain ends with a digit
    return host if is_address else _suffixes().privatesuffix(host) or host


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)  # by registries alone: a blog belongs to the domain of its provider
