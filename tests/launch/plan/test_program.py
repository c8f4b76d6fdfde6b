"""The bytes that a compiled program sends, read from its text."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from varietas.launch.plan.program import Collective, collectives
from varietas.model.sharding import make_mesh

TIMES = 5


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return make_mesh(4, 2, 1)


def sent_by(mesh: Mesh, of_one_device: Callable[[jax.Array], jax.Array], out: P) -> list[Collective]:
    """Of a program that does so to 128 float32 numbers a device."""
    mapped = jax.shard_map(of_one_device, mesh=mesh, in_specs=P("data", "fsdp"), out_specs=out, check_vma=False)
    x = jax.ShapeDtypeStruct((4 * 8, 2 * 16), jnp.float32, sharding=NamedSharding(mesh, P("data", "fsdp")))
    return collectives(jax.jit(mapped).lower(x).compile().as_text())


@pytest.mark.parametrize(
    ("of_one_device", "out", "kind", "group", "sent"),  # bytes of a ring: facts of the algorithms, not of XLA
    [
        (lambda x: jax.lax.all_gather(x, "data", tiled=True), P(None, "fsdp"), "all-gather", 4, 512 * 3),
        (lambda x: jax.lax.psum(x, ("data", "fsdp")), P(None, None), "all-reduce", 8, 2 * 512 * 7 / 8),
        (lambda x: jax.lax.psum_scatter(x, "data", tiled=True), P("data", "fsdp"), "reduce-scatter", 4, 512 * 3 / 4),
        (lambda x: jax.lax.all_to_all(x, "data", 0, 1, tiled=True), P(None, None), "all-to-all", 4, 512 * 3 / 4),
        (lambda x: jax.lax.ppermute(x, "fsdp", [(0, 1), (1, 0)]), P("data", "fsdp"), "collective-permute", 2, 512),
    ],
    ids=["all-gather", "all-reduce", "reduce-scatter", "all-to-all", "permute"],
)
def test_what_a_program_sends(mesh: Mesh, of_one_device: Callable, out: P, kind: str, group: int, sent: float) -> None:
    (found,) = sent_by(mesh, of_one_device, out)
    assert (found.kind, found.group, found.bytes, found.times) == (kind, group, sent, 1)


def test_what_a_loop_sends_counts_each_time(mesh: Mesh) -> None:
    def repeated(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (jnp.sin(jax.lax.psum(x, "data")), None), x, None, TIMES)[0]

    (found,) = sent_by(mesh, repeated, P("data", "fsdp"))
    assert (found.kind, found.bytes, found.times) == ("all-reduce", 2 * 512 * 3 / 4, TIMES)


def test_a_text_that_is_no_program_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the text of a compiled program"):
        collectives("HloModule jit_step\n")
