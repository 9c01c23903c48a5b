"""`python -m celeriac` is the command line."""

from celeriac.cli import main

main()
