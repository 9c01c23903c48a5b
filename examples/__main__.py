"""`make demo`: the studio where somebody is at a terminal; where nobody is, the demo that ends by itself."""

import sys

if sys.stdin.isatty() and sys.stdout.isatty():
    from examples.studio.run import main
else:
    from examples.demo.run import main

sys.exit(main())
