r"""The grammar of recordings' addresses: text → what kind of place, and its parts. No network, no files opened.

path, ~/path, C:\path, file:///path                      a file or Zarr folder here; may be a glob
http(s)://host/path                                     any file server
s3://bucket/key[?region=R&versionId=V]                  a public bucket
DANDI:000021[@VERSION | /VERSION]/path                  also DANDI-SANDBOX:, LINC: ...; the path may be a glob
dandi://INSTANCE/000021[@VERSION]/path                  INSTANCE as dandi names it, or host[:port] of --instance
https://dandiarchive.org/dandiset/000021/draft/files?location=path
https://api.dandiarchive.org/api/assets/ID/download/    and the archive's other addresses of assets
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from ...errors import InputError

DEFAULT_INSTANCE = "dandi"

_DANDISET = r"[0-9]{6}"
_VERSION = r"(?:[0-9]+\.[0-9]+\.[0-9]+|draft)"
# two letters at least: a single one is a Windows drive
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")
_SECRET = re.compile(
    r"sig|token|key|secret|credential|auth|passw|pwd|policy|session|expires|^x-(amz|goog)-|^(se|sp|sr|st|sv|code)$",
    re.IGNORECASE,
)
_LONGEST_HARMLESS = 40
_GLOB = re.compile(r"[*?\[]")
_REMEDY = "See the README for the addresses that are understood"


@dataclass(frozen=True)
class LocalAddress:
    """A path on this machine, or a glob of paths."""

    path: str
    """As given; the text of a ``file://`` address if it was one."""

    scheme = "file"

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class HttpAddress:
    """An object, or the root of a Zarr store, on a web server."""

    url: str
    """What to request: may hold a secret query, never a user and password."""
    userinfo: str = ""
    """``user:password`` of the address, if any."""

    scheme = "http"

    def __str__(self) -> str:
        return without_secrets(self.url)

    def __repr__(self) -> str:
        return f"HttpAddress({str(self)!r})"


@dataclass(frozen=True)
class S3Address:
    """An object, or the root of a Zarr store, in a public bucket."""

    bucket: str
    key: str
    region: str | None = None
    version_id: str | None = None

    scheme = "s3"

    def __str__(self) -> str:
        options = {"region": self.region, "versionId": self.version_id}
        query = "&".join(f"{name}={value}" for name, value in options.items() if value)
        return f"s3://{self.bucket}/{self.key}" + (f"?{query}" if query else "")


@dataclass(frozen=True)
class DandiAddress:
    """Assets of a dandiset, or one asset of an archive."""

    instance: str
    """A name that dandi knows, or the API's address."""
    dandiset: str | None = None
    """Six digits; None with an asset id alone."""
    version: str | None = None
    """A published version or ``draft``; None: the latest published one, else the draft."""
    path: str = ""
    """Of an asset, with slashes, or a glob; empty: all of the dandiset. A final slash: a folder."""
    asset_id: str | None = None

    scheme = "dandi"

    @property
    def is_glob(self) -> bool:
        """Whether the path is a pattern."""
        return is_glob(self.path)

    def __str__(self) -> str:
        place = self.dandiset or ""
        known = "://" not in self.instance
        if self.asset_id is not None:
            within = f"/dandisets/{place}/versions/{self.version}" if place and self.version else ""
            return f"{_api(self.instance)}{within}/assets/{self.asset_id}/"
        place += (f"@{self.version}" if self.version else "") + (f"/{self.path}" if self.path else "")
        if self.instance == DEFAULT_INSTANCE:
            return f"DANDI:{place}"
        return f"dandi://{self.instance if known else urlsplit(self.instance).netloc}/{place}"


Address = LocalAddress | HttpAddress | S3Address | DandiAddress


def is_glob(path: str) -> bool:
    """Return whether `path` holds a character that makes it a pattern."""
    return bool(_GLOB.search(path))


def without_secrets(url: str) -> str:
    """Return a web address as it may be shown: no user, and no query if that may hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:  # malformed: only what cannot hold a secret
        return url.partition("?")[0].rpartition("@")[2]
    query = parse_qsl(parts.query, keep_blank_values=True)
    secret = any(_SECRET.search(name) or max(len(name), len(value)) > _LONGEST_HARMLESS for name, value in query)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "" if secret else parts.query, ""))


def parse(text: str | os.PathLike[str], *, instance: str = DEFAULT_INSTANCE) -> Address:
    """Return what an address means.

    Parameters
    ----------
    text : str or path
        An address in the grammar above. What exists here under exactly this name is a path, whatever it looks like,
        unless it has ``//`` after its scheme.
    instance : str
        The archive that ``DANDI:`` stands for: a name that dandi knows, or the address of an API.

    Raises
    ------
    InputError
        If the address is in no form that is understood, or malformed.
    """
    if isinstance(text, os.PathLike):
        return LocalAddress(os.fspath(text))
    if not text.strip():
        raise InputError("no recording is named", remedy=_REMEDY)
    if "\0" in text:
        raise InputError("an address with a NUL character", where=repr(text))
    match = _SCHEME.match(text)
    if match is None or (not text.startswith("//", match.end()) and os.path.exists(text)):
        return LocalAddress(text)
    scheme = match.group(1).lower()
    if scheme == "file":
        return LocalAddress(text)
    if _CONTROL.search(text):
        raise InputError("an address with control characters", where=repr(_shown(text)), remedy="Remove them")
    text = text.strip()
    if scheme in ("http", "https"):
        return _web(text, instance)
    if scheme == "s3":
        return _s3(text)
    if scheme == "dandi" and text.startswith("//", match.end()):
        return _dandi_url(text, instance)
    if name := _instance_named(scheme):
        return _identifier(text, match.end(), instance if name == DEFAULT_INSTANCE else name)
    raise InputError(f"{scheme} addresses are not understood", where=_shown(text), remedy=_REMEDY)


def known_instances() -> dict[str, tuple[str, str]]:
    """Return the archives that dandi knows: name → addresses of its web pages (or "") and of its API."""
    from dandi.consts import known_instances as known

    return {name: (_bare(one.gui or ""), _bare(one.api)) for name, one in known.items()}


def dandi_path(text: str, *, where: str) -> str:
    """Return the path of an asset, percent-encodings decoded.

    Raises
    ------
    InputError
        If it has what no asset's path has: ``..``, empty parts, backslashes, control characters.
    """
    try:
        path = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InputError("the path's percent-encoding is not UTF-8", where=where) from error
    parts = path.removesuffix("/").split("/") if path else []
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or _CONTROL.search(path) or "%" in path:
        raise InputError(
            "no asset can have this path",
            where=where,
            remedy="Give it as the archive lists it: names parted by single slashes",
        )
    return path


def _instance_named(scheme: str) -> str | None:
    return scheme if scheme in known_instances() else None


def _api(instance: str) -> str:
    return instance if "://" in instance else known_instances()[instance][1]


def _bare(url: str) -> str:
    return url.rstrip("/")


def _shown(text: str) -> str:
    return without_secrets(text) if "://" in text else text


def _identifier(text: str, start: int, instance: str) -> DandiAddress:
    """Parse ``DANDI:000021``..., the scheme already read up to `start`."""
    match = re.fullmatch(rf"({_DANDISET})(?:@({_VERSION}))?(?:/(.*))?", text[start:])
    if match is None:
        raise InputError(
            "this names no dandiset",
            where=text,
            remedy="The form is DANDI:000021/sub-1/file.nwb, or DANDI:000021@0.220126.0003/sub-1/file.nwb",
        )
    dandiset, version, rest = match.groups()
    rest = rest or ""
    first, _, below = rest.partition("/")
    if version is None and re.fullmatch(_VERSION, first):  # as dandi itself writes it
        version, rest = first, below
    return DandiAddress(instance, dandiset, version, dandi_path(rest, where=text))


def _dandi_url(text: str, instance: str) -> DandiAddress:
    where = _shown(text)
    match = re.fullmatch(rf"[^:]+://([^/@]+)/({_DANDISET})(?:@({_VERSION}))?(?:/(.*))?", text)
    if match is None:
        raise InputError(
            "this names no dandiset",
            where=where,
            remedy="The form is dandi://dandi/000021@0.220126.0003/sub-1/file.nwb",
        )
    name, dandiset, version, path = match.groups()
    if name.lower() in known_instances():
        place = name.lower()
    elif "://" in instance and urlsplit(instance).netloc == name:
        place = instance
    else:
        raise InputError(
            f"no archive named {name} is known",
            where=where,
            remedy=f"Known: {', '.join(sorted(known_instances()))}. For another give its API's address (--instance)",
        )
    return DandiAddress(place, dandiset, version, dandi_path(path or "", where=where))


def _web(text: str, instance: str) -> HttpAddress | DandiAddress:
    where = _shown(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InputError("this is not a web address", where=where) from error
    if not parts.hostname or port == 0 or re.search(r"[\s<>\"\\^`{|}]", parts.netloc):
        raise InputError("this is not a web address: it names no host", where=where)
    if parts.hostname.lower() == "identifiers.org" and parts.path.lower().startswith("/dandi:"):
        return _identifier(parts.path, len("/dandi:"), DEFAULT_INSTANCE)
    if found := _of_archive(text, instance):
        return found
    if "*" in parts.path:
        raise InputError(
            "a web server cannot be asked for a pattern",
            where=where,
            remedy="Patterns work for local folders and dandisets; write a star in a name as %2A",
        )
    path = quote(parts.path, safe="/%!$&'()+,;=:@~") or "/"
    userinfo, _, host = parts.netloc.rpartition("@")
    return HttpAddress(urlunsplit((parts.scheme.lower(), host, path, parts.query, "")), userinfo)


def _of_archive(text: str, instance: str) -> DandiAddress | None:
    """Return the address of an asset that a web address of an archive's pages or API means."""
    archives = dict(known_instances())
    if "://" in instance:
        origin = urlunsplit((*urlsplit(instance)[:2], "", "", ""))
        archives = {instance: (origin, _bare(instance)), **archives}
    parts = urlsplit(text)
    host = parts.netloc.lower().removeprefix("gui.")
    for name, (pages, api) in archives.items():
        api_parts = urlsplit(api)
        if host == api_parts.netloc.lower() and f"{parts.path}/".startswith(f"{api_parts.path}/"):
            return _api_address(name, parts.path[len(api_parts.path) :], parts.query, where=_shown(text))
        if pages and host == urlsplit(pages).netloc.lower():
            page = parts.fragment if "/dandiset/" in f"/{parts.fragment}" else f"{parts.path}?{parts.query}"
            match = re.fullmatch(rf"/?dandiset/({_DANDISET})(?:/({_VERSION}))?(?:/[^?]*)?(?:\?(.*))?", page)
            if match is not None:
                location = dict(parse_qsl(match.group(3) or "")).get("location", "").lstrip("/")
                path = dandi_path(quote(location), where=_shown(text))
                return DandiAddress(name, match.group(1), match.group(2), path)
    return None


def _api_address(instance: str, path: str, query: str, *, where: str) -> DandiAddress:
    match = re.fullmatch(
        rf"(?:/dandisets/({_DANDISET})(?:/versions/({_VERSION}))?)?(?:/assets/([^/]+)(?:/(?:download|info))?|(/assets))?/?",
        path,
    )
    if match is not None:
        dandiset, version, asset, listing = match.groups()
        if asset and _UUID.fullmatch(asset):
            return DandiAddress(instance, dandiset, version, asset_id=asset.lower())
        if dandiset and not asset:
            wanted = dict(parse_qsl(query)) if listing else {}
            asset_path = wanted.get("path") or wanted.get("glob") or ""
            return DandiAddress(instance, dandiset, version, dandi_path(quote(asset_path, safe="/*?[]"), where=where))
    raise InputError(
        "this address of the archive names no asset",
        where=where,
        remedy="Give the address of an asset, or DANDI:000021/sub-1/file.nwb",
    )


def _s3(text: str) -> S3Address:
    where = _shown(text)
    bucket, _, key = text[len("s3:") :].removeprefix("//").partition("/")
    if not text.startswith("//", len("s3:")) or not _BUCKET.fullmatch(bucket) or ".." in bucket or not key:
        raise InputError(
            "this names no object in a bucket", where=where, remedy="The form is s3://bucket/folder/file.nwb"
        )
    if any(part in (".", "..") for part in key.split("/")):
        raise InputError("no object can be reached by this key", where=where, remedy="Remove the parts '.' and '..'")
    name, mark, query = key.rpartition("?")
    options = dict(parse_qsl(query)) if mark else {}
    known = bool(options) and "?" not in name and set(options) <= {"region", "versionId"}
    if "?" in key and "?" not in where and not known:
        raise InputError(
            "a bucket's address with a signature or a key is not understood",
            where=where,
            remedy="Give the https address that was signed",
        )
    if not options or not set(options) <= {"region", "versionId"}:  # then it is part of the key
        name, options = key, {}
    if "*" in name:
        raise InputError(
            "a bucket is not searched for a pattern",
            where=where,
            remedy="Patterns work for local folders and dandisets: name each object",
        )
    region = options.get("region")
    if region is not None and not REGION.fullmatch(region):
        raise InputError(f"{region!r} is no region", where=where, remedy="For example region=us-east-2")
    return S3Address(bucket, name, region, options.get("versionId"))
