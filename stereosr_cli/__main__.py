"""``python -m stereosr_cli``."""

from stereosr_cli.main import main

main()
