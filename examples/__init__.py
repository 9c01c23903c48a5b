"""Examples that run from the repository's root: `python -m examples.studio` and `python -m examples.demo`."""
