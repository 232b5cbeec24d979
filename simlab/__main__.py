"""Let ``python -m simlab`` be the command line."""

from simlab.cli import main

main()
