"""Fingerprints: bit cylinders, 1:1 comparison and the 1:N index."""
