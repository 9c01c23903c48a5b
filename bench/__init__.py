"""celeriac beside its peers, measured in the same run: `python -m bench --help`."""
