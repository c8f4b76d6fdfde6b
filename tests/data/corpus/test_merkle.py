"""The tree of RFC 9162, compared with its recursive definition and with test values of Certificate Transparency."""

from hashlib import sha256

from varietas.data.corpus.merkle import MerkleTree


def recursive(leaves: list[bytes]) -> bytes:
    """Returns the root by RFC 9162, section 2.1.1: the leaves are split at the largest power of two smaller than n."""
    if len(leaves) <= 1:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = max(1 << i for i in range(10) if 1 << i < len(leaves))
    return sha256(b"\1" + recursive(leaves[:k]) + recursive(leaves[k:])).digest()


def test_every_size_up_to_forty_matches_the_definition() -> None:
    leaves = [sha256(bytes([i])).digest() for i in range(40)]
    tree = MerkleTree()
    for n in range(41):
        assert tree.size == n and tree.root() == recursive(leaves[:n])
        if n < 40:
            tree.append(leaves[n])


def test_roots_match_certificate_transparency() -> None:
    """Compares roots of the first 0 to 8 leaves with the tests of github.com/google/certificate-transparency (merkle_tree_test.cc)."""
    tree, roots = MerkleTree(), [MerkleTree().root().hex()]
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"):
        tree.append(bytes.fromhex(leaf))
        roots.append(tree.root().hex())
    assert roots == [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
