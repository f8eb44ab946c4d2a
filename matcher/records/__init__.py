"""The record store: the truth. Every index is a cache derived from it."""
