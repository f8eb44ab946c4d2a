"""Image to template, one file a modality."""
