"""Calibration artefacts from manifests of samples, and how well they hold on people not used."""
