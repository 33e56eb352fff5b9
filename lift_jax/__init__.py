"""LiFT in JAX: 3D medical volumes from 2D networks and a light model of how slices follow each other."""
