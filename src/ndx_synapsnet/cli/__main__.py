"""``python -m ndx_synapsnet.cli``."""

from . import main

main()
