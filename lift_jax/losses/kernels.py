"""Radial kernels `k(d)` and their slopes, by their logarithms: at low temperatures the kernels themselves underflow."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Kernel(NamedTuple):
    """A kernel of distance d and temperature τ, `k(0) = 1`.

    Attributes:
      log_value: log k.
      log_slope: log(-k'(d) / d): the gradient of `k(‖x - y‖)` by x is the slope times `y - x`.
    """

    log_value: Callable[[jax.Array, float], jax.Array]
    log_slope: Callable[[jax.Array, float], jax.Array]


LAPLACE = Kernel(lambda d, t: -d / t, lambda d, t: -d / t - jnp.log(d * t))
"""`k = e^{-d/τ}`, `-k'/d = e^{-d/τ} / (τ d)`: its gradient does not vanish at zero, where it has no direction."""

GAUSSIAN = Kernel(lambda d, t: -((d / t) ** 2) / 2, lambda d, t: -((d / t) ** 2) / 2 - 2 * jnp.log(t))
"""`k = e^{-d²/2τ²}`, `-k'/d = k / τ²`."""

SHARP_LAPLACE = Kernel(lambda d, t: jnp.log1p(d / t) - d / t, lambda d, t: -d / t - 2 * jnp.log(t))
"""`H = (1 + d/τ) e^{-d/τ}`, `-H'/d = e^{-d/τ} / τ²`: its gradient is Laplace-weighted (arXiv 2604.06333)."""

_MATERN = {
    0.5: LAPLACE,
    1.5: SHARP_LAPLACE,
    2.5: Kernel(
        lambda d, t: jnp.log1p(d / t + (d / t) ** 2 / 3) - d / t,
        lambda d, t: jnp.log1p(d / t) - d / t - 2 * jnp.log(t) - math.log(3),
    ),
}


def matern(nu: float) -> Kernel:
    """The Matérn kernel of smoothness ν = 1/2 (Laplace), 3/2 or 5/2; the temperature is its length (arXiv 2604.24196).

    With `r = √(2ν) d / τ`: `e^{-r}`, `(1 + r) e^{-r}`, `(1 + r + r²/3) e^{-r}`.
    """
    kernel, root = _MATERN[nu], math.sqrt(2 * nu)
    return Kernel(lambda d, t: kernel.log_value(d, t / root), lambda d, t: kernel.log_slope(d, t / root))
