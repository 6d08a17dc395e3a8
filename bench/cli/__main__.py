"""`python -m bench.cli`: the command line without its console script."""

from bench.cli.main import main

main()
