"""The gradient of a 3×3 convolution by its images: in a loop against outside, XLA's own against `convolve`.

    python -m benchmarks.looped_convolution

128 images of 48×48 with 32 features, whole and in a loop over halves, each kind in turn; medians and ratios of one run.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lift_jax.evaluation.cost import hardware
from lift_jax.models.layers import DIMENSIONS, convolve

ROUNDS = 5


def gradient(convolution, looped: bool):
    """A compiled function of images and kernel."""

    def of_images(images, kernel):
        def total(x):
            return jnp.sum(convolution(x, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS) ** 2)

        if looped:
            return lax.map(jax.grad(total), images.reshape(2, -1, *images.shape[1:])).reshape(images.shape)
        return jax.grad(total)(images)

    return jax.jit(of_images)


def main():
    kinds = {"XLA's own": lax.conv_general_dilated, "convolve": convolve}
    functions = {(name, looped): gradient(kind, looped) for looped in (False, True) for name, kind in kinds.items()}
    generator = np.random.default_rng(0)
    images, kernel = (generator.normal(size=shape).astype(np.float32) for shape in ((128, 48, 48, 32), (3, 3, 32, 32)))
    seconds = {key: [] for key in functions}
    for round_number in range(ROUNDS + 1):
        for key, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function(images, kernel))
            if round_number:  # the first one compiles
                seconds[key].append(time.perf_counter() - began)
    medians = {key: float(np.median(values)) for key, values in seconds.items()}
    print(hardware())
    for (name, looped), value in medians.items():
        ratio = value / medians["XLA's own", False]
        print(f"{name:>10}, {'in a loop' if looped else 'whole':9}: {1000 * value:7.0f} ms, {ratio:5.2f} times")


if __name__ == "__main__":
    main()
