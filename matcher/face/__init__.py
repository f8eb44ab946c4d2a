"""Faces: unit embeddings compared by their inner product (1:1) and searched exactly for it (1:N)."""
