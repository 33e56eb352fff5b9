"""Reports of evaluations: `metrics.json`, `cases.csv` and one self-contained HTML page with a volume viewer."""

from lift_jax.evaluation.report.evaluation import write_evaluation
from lift_jax.evaluation.report.pictures import Picture, Window, ct_picture, mr_picture

__all__ = ["Picture", "Window", "ct_picture", "mr_picture", "write_evaluation"]
