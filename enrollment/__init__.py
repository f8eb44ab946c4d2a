"""Images and files in, templates out; the bureau's and the field's tools; the command line."""
