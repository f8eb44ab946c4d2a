"""The pytest-benchmark suites; ``python -m benchmarks.run`` runs them in an environment of its own."""
