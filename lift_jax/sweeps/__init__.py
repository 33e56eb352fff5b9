"""Sweeps: named variants of a configuration, over several seeds, trained, scored and compared by one command."""
