"""ndx-synapsnet: learn who drives whom in a recorded population, from NWB, into NWB."""

__version__ = "0.1.0"
