"""What translating the subjects of a data set costs inside their foreground boxes, beside whole grids and cWDM.

    python -m benchmarks.foreground_boxes --config configs/brats_missing_mr.py --config.data.root=DIR
    python -m benchmarks.foreground_boxes --config … --config.data.root=DIR --timed    # translates each

One row a subject: the grid, the box, its share of the grid, operations for one channel, and how many times as many
cWDM's sampler takes; the median and the worst below, the sizes of slices (each is a program to compile), and the size
of a cached subject. Parameters are fresh.
"""

import functools
import statistics
import time

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import cwdm
from lift_jax.data.cache import stored_arrays
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.sources import all_subjects
from lift_jax.data.subject import Subject, crop, foreground, foreground_box
from lift_jax.evaluation.cost import hardware, translation_flops
from lift_jax.inference.translate import predict_channels
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator

CONFIG = config_flags.DEFINE_config_file("config", None, "of the network and the data set")
SUBJECTS = flags.DEFINE_integer("subjects", 0, "the most subjects; 0: all", 0)
TIMED = flags.DEFINE_boolean("timed", False, "translate each subject, with compilation and once more without")


def box_flops(network: VolumeTranslator, shape: tuple[int, int, int], **options) -> float:
    """Operations of translating one channel of a volume `(D, H, W)`, padded to the network's multiple."""
    multiple, (depth, *sides) = network.translator.multiple, shape
    padded = (depth, *(side + -side % multiple for side in sides), network.translator.source_channels)
    return translation_flops(network, _shapes(network), padded, **options)


@functools.cache
def _shapes(network: VolumeTranslator):
    return jax.eval_shape(functools.partial(initial_parameters, network), jax.random.key(0))


def seconds_to_translate(network, params, channels: Channels, subject: Subject, **options) -> float:
    """Of the last target that the others can predict, after a first translation that compiles."""
    target = channels.predictable(subject.images)[-1]
    sources = channels.sources_of(target, subject.images)
    for _ in range(2):
        began = time.perf_counter()
        predict_channels(network, params, channels, subject, sources, [target], **options)
    return time.perf_counter() - began


def main(_):
    """Prints the table."""
    config = CONFIG.value
    channels = channels_of(config.data)
    network, subjects = volume_translator(config.model, channels), all_subjects(config.data, config.data.root)
    options = {"chunk": config.inference.chunk, "skip_cache_gib": config.inference.skip_cache_gib}
    params = initial_parameters(network, jax.random.key(0)) if TIMED.value else None
    flops, sides, sizes, seconds = [], set(), [], []
    print(f"| subject | grid | box | share | TFLOP | cWDM's are |{' s |' if TIMED.value else ''}")
    print("|---|---|---|---|---|---|" + ("---|" if TIMED.value else ""))
    for index in range(min(SUBJECTS.value or len(subjects.names), len(subjects.names))):
        subject = subjects.load(index)
        box = foreground_box(foreground(subject, subject.images, channels.protocols))
        flops.append(box_flops(network, box.shape, **options))
        sides.add(box.shape[1:])
        sizes.append(sum(array.nbytes for array in stored_arrays(crop(subject, box), channels.protocols).values()))
        row = [
            subject.name,
            "×".join(map(str, subject.shape)),
            "×".join(map(str, box.shape)),
            f"{np.prod(box.shape) / np.prod(subject.shape):.2f}",
            f"{flops[-1] / 1e12:.3f}",
            f"{cwdm.times_fewer(flops[-1]):,.0f} times",
        ]
        if TIMED.value:
            seconds.append(seconds_to_translate(network, params, channels, subject, **options))
            row.append(f"{seconds[-1]:.1f}")
        print(f"| {' | '.join(row)} |", flush=True)
    median, worst = statistics.median(flops), max(flops)
    print(
        f"\nmedian {median / 1e12:.3f} TFLOP ({cwdm.times_fewer(median):,.0f} times below cWDM), "
        f"most {worst / 1e12:.3f} ({cwdm.times_fewer(worst):,.0f}); {len(sides)} sizes of slices; "
        f"cached subjects {statistics.median(sizes) / 1e6:.0f} MB (median)"
    )
    if seconds:
        middle = statistics.median(seconds)
        print(f"median {middle:.1f} s, {cwdm.times_faster(middle):,.0f} times below cWDM on two cores")
    print(hardware())


if __name__ == "__main__":
    app.run(main)
