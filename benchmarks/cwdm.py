"""What the peer costs: cWDM's sampler (Friedrich, Durrer, Wolleb, Cattin, arXiv 2411.17203).

It denoises the eight bands of a Haar wavelet transform of the target, a volume of 224×224×160, which are 8 channels of
112×112×80 and go in beside the 24 of three sources: 32 in, 8 out. One pass of that size through its published network,
81.5 M parameters, is 7.17 TFLOP, and took about 58 s on two cores of a Xeon processor (124 GFLOP/s, what convolutions
reach there). Its sampler takes 1,000 for one volume.
"""

STEP_FLOPS = 7.17e12
STEP_SECONDS = 58.0
STEPS = 1000


def times_fewer(flops: float) -> float:
    """How many times as many operations cWDM takes for a volume as `flops`."""
    return STEPS * STEP_FLOPS / flops


def times_faster(seconds: float) -> float:
    """How many times as long cWDM takes for a volume on two cores as `seconds`."""
    return STEPS * STEP_SECONDS / seconds
