"""Examples that run from the repository's root, for instance `python -m examples.demo`."""
