"""A small web application that does not wait: `python -m examples.studio` from the repository's root, or `make demo`."""
