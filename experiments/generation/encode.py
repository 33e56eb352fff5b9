"""Latents of all training volumes into AE_RUN/latents.npy: `python -m experiments.generation.encode AE_RUN`."""

import sys
from pathlib import Path

import numpy as np

from experiments.generation.phantoms import load
from experiments.generation.trajectories import load_run, trajectories_of

run = Path(sys.argv[1])
config, state = load_run(run)
np.save(run / "latents.npy", trajectories_of(config, state, load(config["data"], 0, config["train"])))
print("latents of step", int(state["step"]))
