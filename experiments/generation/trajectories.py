"""Trajectories of real volumes in the autoencoder's latent space, and their principal components.

`python -m experiments.generation.trajectories AE_RUN [codes]` prints scores of real volumes decoded from their own
latents and of samples of the linear model, and writes pictures into AE_RUN.
"""

import json
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.generation.autoencoder import encode_slices, networks
from experiments.generation.phantoms import load as load_phantoms


def load_run(run: Path):
    config = json.loads((run / "config.json").read_text())
    state = jax.tree.map(jnp.asarray, pickle.loads((run / "state.pkl").read_bytes()))
    pixels = state["components"]["mean"].shape[0]
    detail = {"kernel": jnp.zeros((config["hidden"], pixels)), "bias": jnp.zeros(pixels)}
    state["average"]["decoder"].setdefault("detail", detail)  # a layer that came later and begins at zero
    return config, state


def trajectories_of(config, state, volumes, chunk=64) -> np.ndarray:
    """Volumes `[V, D, H, W]` in [0, 1] to latents `[V, D, K]`."""
    encode = jax.jit(lambda x: encode_slices(config, state, x)[0])
    latents = []
    for i in range(0, len(volumes), chunk):
        block = volumes[i : i + chunk]
        x = 2 * jnp.asarray(block.reshape(-1, *block.shape[2:]), jnp.float32) - 1
        latents.append(np.asarray(encode(x)).reshape(*block.shape[:2], -1))
    return np.concatenate(latents)


def decode_volumes(config, decoder, latents, size, chunk=16) -> np.ndarray:
    """Latents `[V, D, K]` to volumes `[V, D, H, W]` in [0, 1]."""
    network = networks(config, size)[1]
    decode = jax.jit(lambda z: network.apply({"params": decoder}, z))
    out = []
    for i in range(0, len(latents), chunk):
        block = latents[i : i + chunk]
        y = np.asarray(decode(jnp.asarray(block.reshape(-1, block.shape[-1]))))
        out.append(((y + 1) / 2).clip(0, 1).reshape(*block.shape[:2], *size))
    return np.concatenate(out)


def linear_prior(latents: np.ndarray, count: int) -> dict:
    """Mean `[D, K]` and directions `[Z, D, K]` as long as the deviation along them, by the Gram matrix of volumes."""
    mean = latents.mean(0)
    centred = (latents - mean).reshape(len(latents), -1).astype(np.float32)
    if centred.shape[1] <= len(centred):
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        rows = vectors[:, ::-1][:, :count].T * np.sqrt(values[::-1][:count].clip(0))[:, None]
    else:
        _, vectors = np.linalg.eigh(centred @ centred.T)
        rows = vectors[:, ::-1][:, :count].T @ centred / np.sqrt(len(centred))
    share = (rows**2).sum() / (centred**2).sum() * len(centred)
    print(f"prior of {count}: {share:.3f} of the variance", flush=True)
    return {"mean": mean.astype(np.float32), "rows": rows.reshape(count, *mean.shape).astype(np.float32)}


def sample(prior: dict, count: int, seed: int, deviation: float = 1.0) -> np.ndarray:
    z = deviation * np.random.default_rng(seed).standard_normal((count, len(prior["rows"]))).astype(np.float32)
    return prior["mean"] + np.tensordot(z, prior["rows"], 1)


def main():
    from experiments.generation.score import Score, picture

    run = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    config, state = load_run(run)
    volumes = load_phantoms(config["data"], 0, config["train"])
    size = volumes.shape[2:]
    held_out = load_phantoms(config["data"], 3136 if size[0] == 32 else config["train"], 256)
    latents = trajectories_of(config, state, volumes)
    np.save(run / "latents.npy", latents)
    print("latents", latents.shape, "deviation", latents.std(), "step", int(state["step"]), flush=True)
    decoder = state["average"]["decoder"]
    score = Score(held_out[:128], str(Path(config["data"]).parent / f"held{size[0]}"))
    own = decode_volumes(config, decoder, trajectories_of(config, state, held_out[128:]), size)
    print("error", np.abs(own - held_out[128:]).mean() * 2, "real, through the autoencoder", score(own), flush=True)
    rows = [held_out[128:], own]
    prior = linear_prior(latents, count)
    made = decode_volumes(config, decoder, sample(prior, 128, 1), size)
    print("linear prior", count, score(made), flush=True)
    rows.append(made)
    picture(run / "start.png", rows)


if __name__ == "__main__":
    main()
