"""The tree and the proofs of RFC 9162, compared with their recursive definitions and with test values of Certificate Transparency."""

from hashlib import sha256

import pytest

from varietas.data.ledger.merkle import MerkleTree, path, root, root_of

# The leaves and proofs of github.com/google/certificate-transparency (merkle_tree_test.cc).
THEIRS = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]


def recursive(leaves: list[bytes]) -> bytes:
    """Returns the root by RFC 9162, section 2.1.1: the leaves are split at the largest power of two smaller than n."""
    if len(leaves) <= 1:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = max(1 << i for i in range(10) if 1 << i < len(leaves))
    return sha256(b"\1" + recursive(leaves[:k]) + recursive(leaves[k:])).digest()


def recursive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Returns the inclusion proof by RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = max(1 << i for i in range(10) if 1 << i < len(leaves))
    if index < k:
        return [*recursive_path(index, leaves[:k]), recursive(leaves[k:])]
    return [*recursive_path(index - k, leaves[k:]), recursive(leaves[:k])]


def test_every_size_up_to_forty_matches_the_definition() -> None:
    leaves = [sha256(bytes([i])).digest() for i in range(40)]
    tree = MerkleTree()
    for n in range(41):
        assert tree.size == n and tree.root() == root(leaves[:n]) == recursive(leaves[:n])
        if n < 40:
            tree.append(leaves[n])


def test_roots_match_certificate_transparency() -> None:
    """Roots of the first 0 to 8 leaves."""
    tree, roots = MerkleTree(), [MerkleTree().root().hex()]
    for leaf in THEIRS:
        tree.append(leaf)
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


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_proofs_match_certificate_transparency(index: int, size: int, proof: list[str]) -> None:
    assert [sibling.hex() for sibling in path(THEIRS[:size], index)] == proof
    assert root_of(THEIRS[index], index, size, [bytes.fromhex(sibling) for sibling in proof]) == recursive(THEIRS[:size])


def test_each_leaf_has_a_proof_and_no_other_leaf_or_place_has_it() -> None:
    leaves = [sha256(bytes([i])).digest() for i in range(33)]
    for n in range(1, 34):
        top = recursive(leaves[:n])
        for index in range(n):
            proof = path(leaves[:n], index)
            assert proof == recursive_path(index, leaves[:n])
            assert root_of(leaves[index], index, n, proof) == top
            assert root_of(leaves[index] + b"!", index, n, proof) != top
            for place in range(n):
                assert place == index or not holds(leaves[index], place, n, proof, top)
            for at in range(len(proof)):
                assert root_of(leaves[index], index, n, [*proof[:at], bytes(32), *proof[at + 1 :]]) != top


def holds(leaf: bytes, index: int, size: int, proof: list[bytes], top: bytes) -> bool:
    try:
        return root_of(leaf, index, size, proof) == top
    except ValueError:
        return False


def test_places_that_do_not_exist_and_damaged_proofs_are_refused() -> None:
    leaves = [bytes([i]) for i in range(5)]
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(ValueError, match=f"a tree of {size} leaves has no leaf {index}"):
            path(leaves[:size], index)
        with pytest.raises(ValueError, match=f"a tree of {size} leaves has no leaf {index}"):
            root_of(b"", index, size, [])
    proof = path(leaves, 1)
    for wrong in (proof[:-1], [], [*proof, bytes(32)]):
        with pytest.raises(ValueError, match=f"of this leaf of 5 has not {len(wrong)} hashes"):
            root_of(leaves[1], 1, 5, wrong)
    with pytest.raises(ValueError, match="hashes of 32 bytes"):
        root_of(leaves[1], 1, 5, [*proof[:-1], bytes(31)])
