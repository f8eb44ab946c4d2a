"""Templates in, candidates out. Knows no image and no file format, and never imports ``enrollment``."""
