"""Values that nobody expects: texts, numbers, JSON and blobs of parameters."""

from __future__ import annotations

import json
import pickle
import struct
from random import Random
from typing import Any

TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\n",
    "line\nanother\r\nthird\r",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "\x1b]8;;http://example.invalid\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m\x85\x90",
    "\u202egnp.exe\u202c\u2066\u2069\u200b\ufeff",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</style></title><script>alert(1)</script>",
    "javascript:alert(1)",
    "[bold]x[/bold][/red][link=file:///etc/passwd]y[/link]",
    "[/]",
    "$\\frac{$",
    "$x^2$ $$",
    "%s%n{0}{x.__class__}",
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "/",
    "C:\\windows\\system32",
    "name/with/slashes",
    "name:with:colons",
    "=cmd|' /C calc'!A0",
    "a" * 5_000,
    "\N{COMBINING ACUTE ACCENT}" * 300,
    "\N{GRINNING FACE}" * 50,
    "__class__",
    "id",
    "name",
    "parent",
    "nan",
    "-1",
    "1" * 5_000,
    "synapsnet",
    "ground_truth",
    "forecast",
    "neurons",
    "effective",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-13-45",
    "2026-11-21T10:00:00",
)  # fmt: skip

#: What HDF5 takes as a name but no text should be.
BYTES: tuple[bytes, ...] = (b"\xff\xfe\xfa", b"\xed\xa0\x80", b"ab\xc3", b"\x80" * 40)

FLOATS: tuple[float, ...] = (
    float("nan"), float("inf"), float("-inf"), 0.0, -0.0, -1.0, 1e308, -1e308, 5e-324, 3.4e38, 1e-45, 1e19, 0.5,
)  # fmt: skip
INTEGERS: tuple[int, ...] = (0, -1, 1, 2, 127, -128, 255, 2**15, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63))


def json_text(rng: Random, whole: str) -> tuple[str, str]:
    """Return a JSON text that is not what `whole` is, and what is odd about it."""
    value: Any = json.loads(whole)
    choice = rng.randrange(14)
    if choice == 0:
        depth = rng.choice((100, 5_000, 100_000, 1_000_000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        return f'{{"recipe": {opening * depth}1{closing * depth}}}', f"nested {depth} deep"
    if choice == 1:
        return json.dumps({**value, "seed": 1})[
            :-1
        ] + f', "big": {"9" * rng.choice((5_000, 10**7))}}}', "endless number"
    if choice == 2:
        return '{"a": NaN, "b": Infinity, "c": -Infinity, "period": 1e999}', "numbers JSON has not"
    if choice == 3:
        return '{"recipe": "x", "recipe": [1], "source": {}, "source": 3}', "keys twice"
    if choice == 4:
        return rng.choice(
            ("", "null", "3", "[]", '"text"', "{", "{]", "\x00", "\ufeff{}", "{'a': 1}", "true")
        ), "no object"
    if choice == 5:
        return "{" + ",".join(f'"k{i}":{{}}' for i in range(100_000)) + "}", "100000 keys"
    if choice == 6:
        return json.dumps({**value, "notes": "x" * 2_000_000}), "a long text"
    if choice == 7:
        return whole[: rng.randrange(len(whole))], "cut off"
    if choice == 8:
        return '{"recipe": "\\ud800", "x": "\\u0000\\u001b[2J"}', "lone surrogate"
    parts = places(value)
    for _ in range(rng.choice((1, 1, 3))):
        holder, key = rng.choice(parts)
        holder[key] = _wrong(rng)
    return json.dumps(value), "values of wrong kinds"


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in nested dicts and lists, as holder and key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def _wrong(rng: Random) -> Any:
    return rng.choice(
        (
            None, True, 0, -1, 2**70, 1e400, float("nan"), [], {}, [[]], [None], {"a": {}}, [{"id": None}, 3, None],
            {"x": [1, {"y": []}]}, rng.choice(TEXTS), [rng.choice(TEXTS)], {rng.choice(TEXTS): rng.choice(TEXTS)},
        )
    )  # fmt: skip


class _Marker:
    """What a pickle would run; the reading process notes it if it does."""

    def __reduce__(self) -> Any:
        return (exec, ("import os; os.environ['UNPICKLED'] = '1'",))


PICKLE = pickle.dumps(_Marker())


def weight_blob(rng: Random, whole: bytes) -> tuple[bytes, str]:
    """Return bytes that are no safetensors, or odd ones, and what is odd about them."""

    def tensors(header: Any, data: bytes = b"\0" * 64, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    def tensor(**changes: Any) -> dict[str, Any]:
        return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}

    name = rng.choice(TEXTS)
    made: tuple[tuple[bytes, str], ...] = (
        (b"", "empty"),
        (b"\0", "one byte"),
        (PICKLE, "a pickle"),
        (b"PK\x03\x04" + PICKLE, "like a torch file"),
        (rng.randbytes(rng.randrange(1, 500)), "random bytes"),
        (whole[: rng.randrange(len(whole))], "cut off"),
        (whole + b"\0" * 8, "longer than it says"),
        (tensors({}, b"", 2**63), "a header of 2**63 bytes"),
        (tensors({}, b"", 2**40), "a header of 2**40 bytes"),
        (tensors({}, b"", 100_000_000), "a header of 100 MB"),
        (tensors(b"[" * 200_000, b""), "a deep header"),
        (tensors(b"{}" + b" " * 1_000_000, b""), "a header of blanks"),
        (tensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},' * 2 + b'"b":3}'), "names twice"),
        (tensors({name: tensor()}, b"\0" * 16), "an odd name"),
        (tensors({"a": tensor(shape=[2**62, 4])}), "a huge shape"),
        (tensors({"a": tensor(shape=[0, 2**62], data_offsets=[0, 0])}, b""), "an empty huge shape"),
        (tensors({"a": tensor(shape=[-1])}), "a negative shape"),
        (tensors({"a": tensor(dtype="O")}), "a dtype of objects"),
        (tensors({"a": tensor(dtype="BF16", data_offsets=[0, 8])}, b"\0" * 8), "bfloat16"),
        (tensors({"a": tensor(dtype="F8_E4M3", data_offsets=[0, 4])}, b"\0" * 4), "eight-bit floats"),
        (tensors({"a": tensor(data_offsets=[16, 0])}), "offsets reversed"),
        (tensors({"a": tensor(data_offsets=[0, 2**62])}), "offsets beyond"),
        (tensors({"a": tensor(), "b": tensor()}, b"\0" * 16), "tensors that overlap"),
        (tensors({"a": tensor(), "__metadata__": {"x": name}}, b"\0" * 16), "metadata"),
        (tensors({"a": tensor(shape=[1] * 70, data_offsets=[0, 4])}, b"\0" * 4), "70 axes"),
        (tensors({f"t{i}": tensor(shape=[0], data_offsets=[0, 0]) for i in range(20_000)}, b""), "20000 tensors"),
    )
    return rng.choice(made)
