"""``python -m stereosr``: the command."""

from stereosr_cli.main import main

main()
