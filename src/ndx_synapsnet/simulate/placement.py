"""Which neurons are connected."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Placement = Literal["mandelbrot", "random"]

#: Where connections can be.
PLACEMENTS: tuple[Placement, ...] = ("mandelbrot", "random")


def connected_pairs(n: int, density: float, placement: Placement, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which ordered pairs (n, n) [target, source] are connected; never a neuron with itself.

    Parameters
    ----------
    n : int
        Neurons.
    density : float
        Fraction of the ordered pairs that are connected, on average over draws.
    placement : {"mandelbrot", "random"}
        Denser along the Mandelbrot set's outline, or anywhere alike.
    rng : numpy.random.Generator
        Source of the draw.
    """
    chance = mandelbrot_image(n) if placement == "mandelbrot" else np.ones((n, n))
    np.fill_diagonal(chance, 0.0)
    # scale the chances until their sum is the wanted number of connections, although none may exceed 1
    wanted = density * n * (n - 1)
    low, high = 0.0, wanted / chance.sum() * n
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * chance, 1).sum() < wanted else (low, middle)
    return np.asarray(rng.random((n, n)) < high * chance)


def mandelbrot_image(size: int, iterations: int = 40) -> NDArray[np.float64]:
    """Return a (size, size) picture of the Mandelbrot set: brightest at its outline, dim but never 0 elsewhere.

    Parameters
    ----------
    size : int
        Pixels a side.
    iterations : int
        Steps after which a point counts as inside.
    """
    real, imaginary = np.meshgrid(np.linspace(-2.1, 0.6, size), np.linspace(-1.25, 1.25, size))
    c = real + 1j * imaginary
    z = np.zeros_like(c)
    escape = np.full(c.shape, float(iterations))
    for step in range(iterations):
        alive = escape == iterations
        z[alive] = z[alive] ** 2 + c[alive]
        escape[alive & (np.abs(z) > 2)] = step
    brightness: NDArray[np.float64] = (escape / iterations) ** 1.5
    brightness[escape == iterations] = 0.0  # the inside is plain: the outline carries the pattern
    return brightness + 0.02
