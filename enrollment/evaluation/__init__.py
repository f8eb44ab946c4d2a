"""Accuracy from manifests: protocol, rates with intervals, and reports."""
