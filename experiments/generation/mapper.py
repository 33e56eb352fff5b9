"""Depth mapper on the linear prior of latent trajectories, drifted in latent space.

`python -m experiments.generation.mapper AE_RUN RUN [key=value ...]`. Resumable: RUN/state.pkl.
"""

import functools
import json
import pickle
import sys
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.generation.trajectories import decode_volumes, linear_prior, load_run
from lift_jax.losses.drifting import drifting_loss

DEFAULTS = {
    "codes": 1024, "hidden": 384, "layers": 4, "knots": 16, "steps": 1500, "batch": 192, "positives": 384, "rate": 3e-4,
    "depths": 6, "temperatures": [0.02, 0.05, 0.2], "seed": 0, "blocks": [8, 32, 128], "anchor": 0.0,
}  # fmt: skip


class Mapper(nn.Module):
    """Volume codes `[B, Z]` to a correction of latents at evenly spread depths, `[B, knots, K]`; zero at first."""

    latent: int
    hidden: int
    layers: int
    knots: int

    @nn.compact
    def __call__(self, z):
        """`z [B, Z]`."""
        x = nn.Dense(self.hidden)(z)
        for _ in range(self.layers):
            x = x + nn.Dense(self.hidden)(nn.silu(nn.LayerNorm()(x)))
        x = nn.Dense(self.knots * self.latent, kernel_init=nn.initializers.zeros)(nn.silu(nn.LayerNorm()(x)))
        return x.reshape(len(z), self.knots, self.latent)


def interpolation(depth: int, knots: int) -> np.ndarray:
    place = np.linspace(0, knots - 1, depth)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(knots)), 0).astype(np.float32)


def map_volumes(network: Mapper, params, prior, z):
    """`[B, Z]` to `[B, D, K]`."""
    depth = prior["mean"].shape[0]
    correction = jnp.einsum("df,bfk->bdk", interpolation(depth, network.knots), network.apply({"params": params}, z))
    return prior["mean"] + jnp.einsum("bz,zdk->bdk", z, prior["rows"]) + correction


def main():
    from experiments.generation.phantoms import load as load_phantoms
    from experiments.generation.score import Score, picture

    ae_run, run = Path(sys.argv[1]), Path(sys.argv[2])
    run.mkdir(parents=True, exist_ok=True)
    config = dict(DEFAULTS)
    for argument in sys.argv[3:]:
        key, value = argument.split("=", 1)
        config[key] = type(DEFAULTS[key])(json.loads(value))
    (run / "config.json").write_text(json.dumps(config | {"autoencoder": str(ae_run)}, indent=1))
    ae_config, ae_state = load_run(ae_run)
    real = np.load(ae_run / "latents.npy")
    depth, latent = real.shape[1:]
    prior = jax.tree.map(jnp.asarray, linear_prior(real, config["codes"]))
    lengths = jnp.sqrt((prior["rows"] ** 2).sum((1, 2)))
    directions = (prior["rows"] / lengths[:, None, None]).reshape(config["codes"], -1)
    directions = directions[: max(config["blocks"])]

    def coordinates(t):
        return (t - prior["mean"]).reshape(len(t), -1) @ directions.T

    real_coordinates = jnp.asarray(np.asarray(jax.jit(coordinates)(jnp.asarray(real))))
    real = jnp.asarray(real)
    network = Mapper(latent, config["hidden"], config["layers"], config["knots"])
    schedule = optax.warmup_cosine_decay_schedule(0, config["rate"], 100, config["steps"], 0.05 * config["rate"])
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.95))
    file = run / "state.pkl"
    if file.exists():
        state = jax.tree.map(jnp.asarray, pickle.loads(file.read_bytes()))
    else:
        params = jax.jit(network.init)(jax.random.key(config["seed"]), jnp.zeros((1, config["codes"])))["params"]
        state = {"params": params, "average": jax.tree.map(jnp.copy, params), "opt": optimiser.init(params), "step": 0}
    print("parameters", sum(x.size for x in jax.tree.leaves(state["params"])), flush=True)

    def loss_function(params, key):
        k1, k2, k3 = jax.random.split(key, 3)
        z = jax.random.normal(k1, (config["batch"], config["codes"]))
        correction = jnp.einsum(
            "df,bfk->bdk", interpolation(depth, config["knots"]), network.apply({"params": params}, z)
        )
        chosen = jax.random.permutation(k2, len(real))[: config["positives"]]
        d = jnp.floor(
            (jnp.arange(config["depths"]) + jax.random.uniform(k3, (config["depths"],)))
            * (depth - 1)
            / config["depths"]
        )
        d = d.astype(jnp.int32)
        drift = functools.partial(drifting_loss, temperatures=config["temperatures"])

        def segments(x):
            return jnp.concatenate([x[:, d], x[:, d + 1] - x[:, d]], -1).swapaxes(0, 1)

        rows = jnp.concatenate([prior["rows"][:, d], prior["rows"][:, d + 1]], 1)
        linear = prior["mean"][jnp.concatenate([d, d + 1])] + jnp.einsum("bz,zdk->bdk", z, rows)
        t = linear + jnp.concatenate([correction[:, d], correction[:, d + 1]], 1)
        a, b = jnp.split(t, 2, axis=1)
        generated = jnp.concatenate([a, b - a], -1).swapaxes(0, 1)
        terms = {"segments": drift(generated, segments(real[chosen]))[0].mean()}
        first = max(config["blocks"])
        u = z[:, :first] * lengths[:first] + correction.reshape(len(z), -1) @ directions.T
        v = real_coordinates[chosen]
        for count in config["blocks"]:
            terms[f"first{count}"] = drift(u[None, :, :count], v[None, :, :count])[0].mean()
        return sum(terms.values()), terms

    @jax.jit
    def step(state, key):
        (_, terms), gradient = jax.value_and_grad(loss_function, has_aux=True)(state["params"], key)
        updates, opt = optimiser.update(gradient, state["opt"])
        params = optax.apply_updates(state["params"], updates)
        average = jax.tree.map(lambda a, p: 0.998 * a + 0.002 * p, state["average"], params)
        return {"params": params, "average": average, "opt": opt, "step": state["step"] + 1}, terms

    start, sums = time.time(), {}
    for i in range(int(state["step"]), config["steps"]):
        state, terms = step(state, jax.random.fold_in(jax.random.key(config["seed"] + 1), i))
        sums = {k: sums.get(k, 0.0) + float(v) for k, v in terms.items()}
        if (i + 1) % 100 == 0:
            print(
                i + 1,
                f"{time.time() - start:.0f} s, {time.process_time():.0f} of CPU",
                {k: round(v / 100, 4) for k, v in sums.items()},
                flush=True,
            )
            sums = {}
        if (i + 1) % 500 == 0 or i + 1 == config["steps"]:
            temporary = file.with_suffix(".part")
            temporary.write_bytes(pickle.dumps(jax.tree.map(np.asarray, state)))
            temporary.rename(file)

    size = ae_state["components"]["mean"].shape[0]
    size = (int(size**0.5),) * 2
    held_out = load_phantoms(ae_config["data"], 3136 if size[0] == 32 else ae_config["train"], 256)
    score = Score(held_out[:128], str(Path(ae_config["data"]).parent / f"held{size[0]}"))
    z = jnp.asarray(np.random.default_rng(1).standard_normal((128, config["codes"])).astype(np.float32))
    t = np.asarray(jax.jit(functools.partial(map_volumes, network))(state["average"], prior, z))
    made = decode_volumes(ae_config, ae_state["average"]["decoder"], t, size)
    print(
        "variance of coordinates, against real",
        [
            round(
                float(
                    (coordinates(jnp.asarray(t))[:, a:b] ** 2).sum()
                    / len(t)
                    / (real_coordinates[:, a:b] ** 2).mean(0).sum()
                ),
                2,
            )
            for a, b in ((0, 8), (8, 32), (32, 128))
        ],
    )
    print("after drifting in latent space", score(made), flush=True)
    picture(run / "samples.png", [held_out[128:], made])


if __name__ == "__main__":
    main()
