"""Faces: unit embeddings compared by their inner product (1:1) and searched exactly with FAISS (1:N)."""
