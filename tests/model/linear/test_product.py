"""Products of activations and weights equal einsum, and so do their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.model.linear.product import product

SIZES = {"B": 2, "L": 5, "D": 6, "N": 3, "H": 4, "F": 6}


@pytest.mark.parametrize("dims", ["BLD,DF->BLF", "BLD,DNH->BLNH", "BLNH,NHD->BLD"])
def test_value_and_gradients_equal_those_of_einsum(dims: str) -> None:
    rng = np.random.default_rng(0)
    x, w, weight = (rng.standard_normal([SIZES[letter] for letter in letters]) for letters in dims.replace("->", ",").split(","))
    for argument in (0, 1):
        ours, einsums = (
            jax.value_and_grad(lambda x, w, f=f: jnp.sum(weight * f(x, w)), argument)(x, w)
            for f in (lambda x, w: product(dims, x, w), lambda x, w: jnp.einsum(dims, x, w))
        )
        for found, expected in zip(ours, einsums, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", ["BLD,FD->BLF", "BLNH,HND->BLD", "BLD,DF->BFL"])
def test_dimensions_in_another_order_are_refused(dims: str) -> None:
    with pytest.raises(ValueError, match=f"product {dims}: the last letters of x"):
        product(dims, *(jnp.ones([SIZES[letter] for letter in letters]) for letters in dims.split("->")[0].split(",")))
