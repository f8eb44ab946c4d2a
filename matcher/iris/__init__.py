"""Irises: masked, rotation-tolerant comparison of binary iris codes, 1:1 and 1:N."""
