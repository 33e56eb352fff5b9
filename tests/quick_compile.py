"""Compilation without optimization: the tests of small arrays spend their time compiling, and numbers do not change."""

import functools

import jax

QUICK = {"xla_backend_optimization_level": 0}

quick_jit = functools.partial(jax.jit, compiler_options=QUICK)
