"""Pictures and mails by tasks: `python -m examples.demo` from the repository's root, or `make demo </dev/null`."""
