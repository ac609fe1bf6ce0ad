"""What models that share a decoder over neurons ask of its settings."""

from __future__ import annotations

from typing import Protocol

from . import DECODERS


class DecoderSettings(Protocol):
    """A configuration with a decoder, its sizes and its context; see `SynapsNetConfig`."""

    @property
    def decoder(self) -> str:
        """A key of `DECODERS`."""

    @property
    def hidden(self) -> int:
        """Hidden units."""

    @property
    def layers(self) -> int:
        """Of a transformer."""

    @property
    def heads(self) -> int:
        """Of a transformer."""

    @property
    def embedding(self) -> int:
        """Length of a neuron's embedding."""

    @property
    def stretch(self) -> int:
        """Targets in a stretch."""

    @property
    def dropout(self) -> float:
        """Share of units."""

    @property
    def context(self) -> str:
        """``window`` or ``stream``."""


def check_decoder(settings: DecoderSettings) -> None:
    """Refuse settings that no decoder has.

    Raises
    ------
    ValueError
        If the decoder or the context is unknown, a number is out of range, or they do not go together.
    """
    s = settings
    if s.decoder not in DECODERS:
        raise ValueError(f"decoder is {s.decoder!r}, expected one of {', '.join(DECODERS)}")
    for name in ("hidden", "layers", "heads", "embedding", "stretch"):
        if getattr(s, name) < 1:
            raise ValueError(f"{name} is {getattr(s, name)}, expected at least 1")
    if s.decoder == "transformer" and s.hidden % s.heads:
        raise ValueError(f"hidden is {s.hidden}, expected a multiple of the {s.heads} heads")
    if s.decoder != "transformer" and s.layers != 1:
        raise ValueError(f"layers is {s.layers}; the decoder {s.decoder} has 1")
    if not 0 <= s.dropout < 1:
        raise ValueError(f"dropout is {s.dropout}, expected 0 or more and below 1")
    if s.context not in ("window", "stream"):
        raise ValueError(f"context is {s.context!r}, expected 'window' or 'stream'")
    if s.context == "stream" and s.decoder == "transformer":
        raise ValueError("context is 'stream', but a transformer has no state to run on: use 'window'")
