"""The metrics of a sweep's runs."""

from lift_jax.evaluation.aggregates import Column

GENERATION_COLUMNS = (
    Column("frechet_axial", "Fréchet, axial", 4, False),
    Column("frechet_coronal", "Fréchet, coronal", 4, False),
    Column("frechet_sagittal", "Fréchet, sagittal", 4, False),
    Column("kernel_axial", "kernel, axial", 4, False),
    Column("kernel_coronal", "kernel, coronal", 4, False),
    Column("kernel_sagittal", "kernel, sagittal", 4, False),
    Column("step_relative", "mean |Δz|, against real (%)", 1, False),
    Column("spread_relative", "spread over volumes, against real (%)", 1, False),
    Column("nearest_rmse", "RMSE to the nearest training volume", 4, True),
)
"""Of runs that generate; the percentages are best at 0, from either side."""

TRANSLATION_COLUMNS = (
    Column("psnr", "PSNR (dB)", 2, True),
    Column("ssim", "SSIM", 4, True),
    Column("psnr_brain", "PSNR, brain (dB)", 2, True),
    Column("ssim_brain", "SSIM, brain", 4, True),
    Column("delta_z_mae", "Δz MAE, brain", 4, False),
    Column("gflop", "a volume (GFLOP)", 1, False),
)
"""Of runs that translate to [0, 1], means over subjects and channels; and the operations of one translation."""

HU_TRANSLATION_COLUMNS = (
    Column("mae", "MAE (HU)", 1, False),
    Column("psnr", "PSNR (dB)", 2, True),
    Column("ssim", "SSIM", 4, True),
    Column("ms_ssim", "MS-SSIM, masked", 4, True),
    Column("delta_z_mae", "Δz MAE (HU)", 1, False),
    Column("delta_z_mae_bone", "Δz MAE, bone (HU)", 1, False),
    Column("dice_bone", "Dice, bone", 3, True),
    Column("gflop", "a volume (GFLOP)", 1, False),
)
"""Of runs that translate to HU."""

TRADEOFF = ("gflop", ("psnr", "delta_z_mae"))
"""What is drawn against what it costs: the cost, and the metrics; nothing where a sweep has no such cost."""

BEST_AT_ZERO = ("step_relative", "spread_relative")
"""Metrics of which neither more nor less is better."""

COMPARED_AS_RATIOS = ("frechet_axial", "frechet_coronal", "frechet_sagittal")
"""Metrics that are above 0 and scatter in proportion to their size: means are geometric, and differences ratios."""

NOT_RANKED = ("nearest_rmse",)
"""Metrics that tell of copies, by which no variant is better: noise is far from all training volumes too."""
