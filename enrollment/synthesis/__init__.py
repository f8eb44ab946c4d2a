"""Synthetic samples and templates, seeded: for the demo, tests and load only, never for quoting accuracy."""
