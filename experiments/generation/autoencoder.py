"""Trains the slice autoencoder (variational): `python -m experiments.generation.autoencoder RUN [key=value ...]`.

L1 on pixels and on their differences, AlexNet feature loss, KL. Resumable: RUN/state.pkl.
"""

import json
import pickle
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.generation.networks import SliceDecoder, SliceEncoder
from experiments.generation.phantoms import load as load_phantoms
from lift_jax.models.encoders.alexnet import AlexNet, alexnet_parameters
from lift_jax.models.slice_generator import to_logits

DEFAULTS = {
    "data": "runs/p32", "train": 3072, "components": 384, "latent": 128, "hidden": 512, "layers": 3, "grid": 8,
    "reach": 4.0, "steps": 3000, "batch": 128, "judged": 12, "rate": 5e-4, "kl": 2e-5, "gradient": 1.0, "feature": 0.1,
    "seed": 0,
}  # fmt: skip


def read_config(run: Path, arguments: list[str]) -> dict:
    file = run / "config.json"
    config = DEFAULTS | (json.loads(file.read_text()) if file.exists() else {})
    for argument in arguments:
        key, value = argument.split("=", 1)
        config[key] = type(DEFAULTS[key])(json.loads(value)) if not isinstance(DEFAULTS[key], str) else value
    run.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config, indent=1))
    return config


def components_of(volumes: np.ndarray, count: int) -> dict:
    """Principal components of axial slices before tanh: mean `[P]`, rows `[count, P]` as long as their deviation."""
    slices = volumes.reshape(-1, int(np.prod(volumes.shape[2:])))
    slices = slices[slices.max(1) > 0.02][:: max(1, len(volumes) * volumes.shape[1] // 60000)]
    slices = to_logits(2 * slices.astype(np.float32) - 1, np)
    mean = slices.mean(0)
    values, vectors = np.linalg.eigh((slices - mean).T @ (slices - mean) / len(slices))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    return {"mean": jnp.asarray(mean), "rows": jnp.asarray((vectors * np.sqrt(values)).T, jnp.float32)}


def component_latents(components: dict, slices):
    """Slices `[N, ...]` in [-1, 1] to codes of mean 0 and variance 1 `[N, count]`."""
    rows = components["rows"]
    return (to_logits(slices.reshape(len(slices), -1)) - components["mean"]) @ (
        rows / (rows**2).sum(1, keepdims=True)
    ).T


def networks(config, shape):
    return SliceEncoder(config["latent"]), SliceDecoder(
        tuple(shape), config["hidden"], config["layers"], config["grid"], config["reach"]
    )


def encode_slices(config, state, slices):
    """Slices `[N, H, W]` in [-1, 1] to latents' mean and log variance."""
    codes = component_latents(state["components"], slices)
    return SliceEncoder(config["latent"]).apply({"params": state["average"]["encoder"]}, codes)


def feature_distance(a, b):
    """Mean absolute difference of AlexNet's maps, each in units of the real one's mean."""
    total = 0.0
    maps = AlexNet().apply({"params": alexnet_parameters()}, jnp.concatenate([a, b])[..., None])
    for both in maps:
        x, y = jnp.split(both, 2)
        total += jnp.abs(x - y).mean() / jax.lax.stop_gradient(y.mean())
    return total / len(maps)


def main():
    run = Path(sys.argv[1])
    config = read_config(run, sys.argv[2:])
    volumes = load_phantoms(config["data"], 0, config["train"]).astype(np.float16)
    size = volumes.shape[2:]
    flat = volumes.reshape(-1, *size)
    filled = np.flatnonzero(flat.reshape(len(flat), -1).max(1) > 0.02)
    empty = np.setdiff1d(np.arange(len(flat)), filled)
    encoder, decoder = networks(config, size)
    schedule = optax.warmup_cosine_decay_schedule(0, config["rate"], 200, config["steps"], 0.02 * config["rate"])
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))
    file = run / "state.pkl"
    if file.exists():
        state = jax.tree.map(jnp.asarray, pickle.loads(file.read_bytes()))
    else:
        components = components_of(volumes[:2048], config["components"])
        k1, k2 = jax.random.split(jax.random.key(config["seed"]))
        params = {
            "encoder": jax.jit(encoder.init)(k1, jnp.zeros((1, config["components"])))["params"],
            "decoder": jax.jit(decoder.init)(k2, jnp.zeros((1, config["latent"])))["params"],
        }
        params["decoder"]["linear"] = {"kernel": components["rows"][: config["latent"]], "bias": components["mean"]}
        state = {
            "params": params,
            "average": params,
            "opt": optimiser.init(params),
            "components": components,
            "step": 0,
        }
    print("parameters", {k: sum(x.size for x in jax.tree.leaves(v)) for k, v in state["params"].items()}, flush=True)
    components = state["components"]

    judged = config["judged"]

    def loss_function(params, x, key):
        codes = component_latents(components, x)
        mean, log_variance = encoder.apply({"params": params["encoder"]}, codes)
        z = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        y = decoder.apply({"params": params["decoder"]}, z)
        kl = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(-1).mean()
        terms = {
            "pixels": jnp.abs(y - x).mean(),
            "gradient": sum(jnp.abs(jnp.diff(y - x, axis=a)).mean() for a in (1, 2)) / 2,
            "feature": feature_distance(y[:judged], x[:judged]) if config["feature"] else 0.0,
            "kl": kl,
        }
        loss = terms["pixels"] + sum(config[k] * terms[k] for k in ("gradient", "feature", "kl"))
        return loss, terms

    @jax.jit
    def step(state, x, key):
        (_, terms), gradient = jax.value_and_grad(loss_function, has_aux=True)(state["params"], x, key)
        updates, opt = optimiser.update(gradient, state["opt"])
        params = optax.apply_updates(state["params"], updates)
        decay = jnp.minimum(0.999, (1.0 + state["step"]) / (10.0 + state["step"]))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state["average"], params)
        return state | {"params": params, "average": average, "opt": opt, "step": state["step"] + 1}, terms

    state["average"] = jax.tree.map(jnp.copy, state["average"])
    start, sums = time.time(), {}
    for i in range(int(state["step"]), config["steps"]):
        generator = np.random.default_rng([config["seed"], i])
        chosen = generator.choice(filled, config["batch"])
        chosen[-(config["batch"] // 32) :] = generator.choice(empty, config["batch"] // 32)
        x = jnp.asarray(2 * flat[chosen].astype(np.float32) - 1)
        state, terms = step(state, x, jax.random.fold_in(jax.random.key(config["seed"]), i))
        for k, v in terms.items():
            sums[k] = sums.get(k, 0.0) + float(v)
        if (i + 1) % 50 == 0:
            shown = {k: round(v / 50, 4) for k, v in sums.items()}
            print(i + 1, f"{time.time() - start:.0f} s, {time.process_time():.0f} of CPU", shown, flush=True)
            sums = {}
        if (i + 1) % 500 == 0 or i + 1 == config["steps"]:
            temporary = file.with_suffix(".part")
            temporary.write_bytes(pickle.dumps(jax.tree.map(np.asarray, state)))
            temporary.rename(file)


if __name__ == "__main__":
    main()
