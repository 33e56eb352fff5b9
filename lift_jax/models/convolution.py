"""A convolution whose gradient is as fast inside a loop as outside, for networks that are differentiated in chunks."""

import jax
import jax.numpy as jnp
from jax import lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(images, kernel, window_strides, padding, *, precision=None, **settings):
    """`lax.conv_general_dilated` of images, to hand to `flax.linen.Conv` as `conv_general_dilated`.

    Convolutions that keep the size of an image, by kernels of odd sides, get a gradient of their own, with the same
    numbers; others are left as they are. The gradient by the image is a convolution with the kernel turned round and
    its features swapped. Outside loops XLA does that to the kernel beforehand. Inside one its CPU compiler leaves it to
    the convolution, which then takes twenty times as long: here the turned kernel is an array of its own.

    Args:
      images: `[N, H, W, C]`.
      kernel: `[h, w, C, C']`.
      window_strides, padding, precision, settings: as Linen gives them.
    """
    if not _keeps_size(images, kernel, window_strides, padding, settings):
        return lax.conv_general_dilated(images, kernel, window_strides, padding, precision=precision, **settings)
    return _same(*_of_all_devices(images, kernel), precision)


def _keeps_size(images, kernel, strides, padding, settings) -> bool:
    plain = {"lhs_dilation": 1, "rhs_dilation": 1, "feature_group_count": 1}
    return (
        images.ndim == 4
        and padding == "SAME"
        and all(side % 2 for side in kernel.shape[:2])
        and all(stride == 1 for stride in strides)
        and all(number == value for name, value in plain.items() for number in _numbers(settings.get(name, value)))
    )


def _numbers(setting) -> tuple:
    return (setting,) if isinstance(setting, int) else tuple(setting)


def _of_all_devices(images, kernel):
    """Both, varying over the same mapped axes: the gradient of one that did not is then summed over devices."""
    return images + jnp.zeros_like(kernel[0, 0, 0, 0]), kernel + jnp.zeros_like(images[0, 0, 0, 0])


def _convolution(images, kernel, precision):
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS, precision=precision)


def _same_forward(images, kernel, precision):
    return _convolution(images, kernel, precision), (images, kernel)


def _same_backward(precision, saved, gradient):
    images, kernel = saved
    turned = lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    _, by_kernel = jax.vjp(lambda kernel: _convolution(images, kernel, precision), kernel)
    return _convolution(gradient, turned, precision), *by_kernel(gradient)


_same = jax.custom_vjp(_convolution, nondiff_argnums=(2,))
_same.defvjp(_same_forward, _same_backward)
