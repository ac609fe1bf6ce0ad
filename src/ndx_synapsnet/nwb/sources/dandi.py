"""Finding assets of DANDI archives: versions, patterns, the addresses of their bytes, what their records state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from ...errors import InputError
from .remote.location import Located
from .remote.options import RemoteOptions
from .stores import LocatedStore
from .uri import DandiAddress, S3Address, is_glob, without_secrets

if TYPE_CHECKING:
    from dandi.dandiapi import BaseRemoteAsset, RemoteDandiset

    from .dandi_client import ArchiveClient

_NEAR = 200  # assets looked at for names that are near
_SHOWN = 4


def locate_dandi(address: DandiAddress, options: RemoteOptions) -> Located | LocatedStore:
    """Return where the bytes of an asset are.

    Parameters
    ----------
    address : DandiAddress
        One asset, by path or id.
    options : RemoteOptions
        Time limits and attempts.

    Returns
    -------
    Located or LocatedStore
        Of a file, or of a Zarr asset.

    Raises
    ------
    InputError
        If the archive cannot be reached, knows no such dandiset, version or asset, or wants a token that is not there.
    """
    where = str(address)
    with _session(address, options) as client:
        asset, dandiset, version = _asset(client, address)
        metadata = asset.get_raw_metadata()
        digests = metadata.get("digest") or {}
        record = {
            "archive": client.name,
            "api": client.api_url,
            "dandiset": dandiset,
            "version": version,
            "asset_id": asset.identifier,
            "path": asset.path,
            "size": asset.size,
            "digest": dict(digests),
            "modified": asset.modified.isoformat(),
        }
        if zarr := getattr(asset, "zarr", None):
            return _store(client, address, zarr, metadata, record)
        url, authorization = _download(client, asset.identifier, where, presigned=client.uses_token)

    def refresh() -> str:
        with _session(address, options) as again:
            return _download(again, asset.identifier, where, presigned=True)[0]

    return Located(
        uri=where,
        url=lambda: url,
        refresh=refresh,
        headers=authorization,
        size=asset.size,
        digest=_digest(digests),
        record=record,
    )


def expand_dandi(address: DandiAddress, options: RemoteOptions) -> list[str]:
    """Return the addresses of the assets that fit a pattern, by path, each with the version they are of.

    In a pattern ``*`` and ``?`` stand for characters within one folder, ``[ab]`` for one of these, ``**`` for any
    number of folders.

    Raises
    ------
    InputError
        As `locate_dandi`, and if nothing fits.
    """
    with _session(address, options) as client:
        dandiset = _dandiset(client, address)
        fits = re.compile(pattern_of(address.path)).fullmatch
        # what the archive understands: stars, which cross folders; case is no matter there
        asked = re.sub(r"\*+", "*", re.sub(r"\[[^\]]*\]|\?", "*", address.path))
        with _missing(client, dandiset, address):
            paths = sorted({asset.path for asset in dandiset.get_assets_by_glob(asked) if fits(asset.path)})
        if not paths:
            raise _nothing(client, dandiset, address, "no asset fits this pattern")
        version = dandiset.version_id
        return [str(DandiAddress(address.instance, dandiset.identifier, version, path)) for path in paths]


def pattern_of(glob: str) -> str:
    """Return the regular expression of a pattern, as a shell understands it."""
    translated = ""
    for token in re.findall(r"\*\*/|\*+|\?|\[!?\]?[^\]]*\]|.", glob, re.DOTALL):
        if token == "**/":
            translated += "(?:.*/)?"
        elif token.startswith("*"):
            translated += ".*" if token == "**" else "[^/]*"
        elif token == "?":
            translated += "[^/]"
        elif token.startswith("[") and len(token) > 1:
            inside = token[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            translated += f"(?!/)[{'^' + inside[1:] if inside.startswith('!') else inside}]"
        else:
            translated += re.escape(token)
    return translated


def of_instance(instance: str) -> str:
    """Return the instance as `DandiAddress` has it: a name that dandi knows, or the address of an API.

    Raises
    ------
    InputError
        If it is neither.
    """
    from .uri import known_instances

    if instance.lower() in known_instances():
        return instance.lower()
    parts = urlsplit(instance)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.username and not parts.query:
        given = instance.rstrip("/")
        for name, addresses in known_instances().items():
            if given in addresses:
                return name
        return given
    raise InputError(
        f"no archive named {without_secrets(instance)!r} is known",
        remedy=f"Known: {', '.join(sorted(known_instances()))}; or give the address of an API, https://.../api",
    )


@contextmanager
def _session(address: DandiAddress, options: RemoteOptions) -> Iterator[ArchiveClient]:
    """Talk to the archive; what it answers wrongly is an error of its own."""
    from dandi.exceptions import NotFoundError
    from requests import HTTPError

    from .dandi_client import ArchiveClient

    where = str(address)
    with ArchiveClient(address.instance, options, where=where) as client:
        try:
            yield client
        except InputError:
            raise
        except (NotFoundError, HTTPError) as error:
            raise InputError(
                "the archive no longer has this", where=where, remedy="Look on the dandiset's page what became of it"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise InputError(
                f"the archive's answer is not understood ({type(error).__name__})",
                where=where,
                remedy="If the archive is well, a newer version of the package dandi may help",
            ) from error


def _dandiset(client: ArchiveClient, address: DandiAddress) -> RemoteDandiset:
    """Return the dandiset in the version that is meant; one request, none where the version is given."""
    from dandi.exceptions import NotFoundError

    if address.version is not None:
        return client.get_dandiset(address.dandiset, address.version, lazy=True)
    try:
        return client.get_dandiset(address.dandiset, lazy=False)
    except NotFoundError as error:
        raise _no_dandiset(client, address) from error


@contextmanager
def _missing(client: ArchiveClient, dandiset: RemoteDandiset, address: DandiAddress) -> Iterator[None]:
    """Say which of dandiset and version it is that the archive does not have."""
    from dandi.exceptions import NotFoundError

    try:
        yield
    except NotFoundError as error:
        try:
            known = [version.identifier for version in client.get_dandiset(address.dandiset).get_versions()]
        except NotFoundError:
            raise _no_dandiset(client, address) from error
        if dandiset.version_id in known:
            raise
        raise InputError(
            f"dandiset {address.dandiset} has no version {dandiset.version_id}",
            where=str(address),
            remedy=f"It has: {', '.join(sorted(known))}",
        ) from error


def _asset(client: ArchiveClient, address: DandiAddress) -> tuple[BaseRemoteAsset, str | None, str | None]:
    """Return an asset with its dandiset and version."""
    from dandi.exceptions import NotFoundError

    where = str(address)
    if address.asset_id is not None:
        try:
            if address.dandiset is None or address.version is None:
                return client.get_asset(address.asset_id), address.dandiset, None
            dandiset = _dandiset(client, address)
            return dandiset.get_asset(address.asset_id), dandiset.identifier, dandiset.version_id
        except NotFoundError as error:
            raise InputError(
                "the archive has no asset of this id: it was withdrawn, or the id is misspelt",
                where=where,
                remedy="Look for its successor on the dandiset's page",
            ) from error
    dandiset = _dandiset(client, address)
    path = address.path.rstrip("/")
    with _missing(client, dandiset, address):
        found = [asset for asset in dandiset.get_assets_with_path_prefix(path) if asset.path == path] if path else []
    if not found:
        listed = _listing(client, dandiset, f"{path}/" if path else "")
        if listed:
            folder = DandiAddress(address.instance, address.dandiset, address.version, f"{path}/*.nwb".lstrip("/"))
            raise InputError(
                "this is a folder of the dandiset" if path else "this is a whole dandiset, not one file",
                where=where,
                remedy=f"Name a file, such as {_address(address, listed[0])}, or a pattern: {folder}",
            )
        raise _nothing(client, dandiset, address, "the dandiset has no such asset: withdrawn, or misspelt")
    return found[0], dandiset.identifier, dandiset.version_id


def _listing(client: ArchiveClient, dandiset: RemoteDandiset, prefix: str) -> list[str]:
    """Return some paths that begin with `prefix`: one page."""
    params = {"path": prefix, "order": "path", "page_size": _NEAR}
    page = client.get(f"{dandiset.version_api_path}assets/", params=params)
    return [str(item["path"]) for item in page["results"]]


def _nothing(client: ArchiveClient, dandiset: RemoteDandiset, address: DandiAddress, what: str) -> InputError:
    """Return the error for what is not in the dandiset, with a few names that are near."""
    parts = address.path.split("/")
    fixed = next((i for i, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    listed: list[str] = []
    for depth in range(fixed, -1, -1):
        prefix = "/".join(parts[:depth])
        if listed := _listing(client, dandiset, f"{prefix}/" if prefix else ""):
            break
    near = get_close_matches(address.path, listed, n=_SHOWN, cutoff=0.3) or listed[:_SHOWN]
    version = f"version {dandiset.version_id} of dandiset {dandiset.identifier}"
    there = f"{version} has {', '.join(near)}" if near else f"{version} is empty"
    return InputError(what, where=str(address), remedy=there[0].upper() + there[1:])


def _no_dandiset(client: ArchiveClient, address: DandiAddress) -> InputError:
    return InputError(
        f"the archive {client.name} has no dandiset {address.dandiset}",
        where=str(address),
        remedy="Check the six digits, and which archive is meant (--instance)",
    )


def _address(address: DandiAddress, path: str) -> DandiAddress:
    return DandiAddress(address.instance, address.dandiset, address.version, path)


def _digest(digests: dict[str, Any]) -> str | None:
    """Return the strongest digest that the record states, as `Located` has it."""
    for name, prefix in (("dandi:sha2-256", "sha256"), ("dandi:dandi-etag", "dandi-etag")):
        value = digests.get(name)
        if isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{32,64}(-\d+)?", value):
            return f"{prefix}:{value.lower()}"
    return None


def _download(client: ArchiveClient, asset_id: str, where: str, *, presigned: bool) -> tuple[str, dict[str, str]]:
    """Return the address of an asset's bytes, and the headers it wants.

    Parameters
    ----------
    presigned : bool
        Whether to keep the signature: public data are read without, so that the address does not expire.
    """
    path = f"/assets/{asset_id}/download/"
    with client.request("GET", path, json_resp=False, stream=True) as response:
        target = response.headers.get("Location")
        if response.status_code == 200:  # an archive that sends the bytes itself
            return client.get_url(path), client.authorization()
    parts = urlsplit(target or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("the archive does not say where the asset's bytes are", where=where)
    if urlsplit(client.api_url).scheme == "https" and parts.scheme != "https":
        raise InputError("the archive refers to an insecure address", where=where)
    return (str(target) if presigned else urlunsplit((*parts[:3], "", ""))), {}


def _store(
    client: ArchiveClient, address: DandiAddress, zarr: str, metadata: dict[str, Any], record: dict[str, Any]
) -> LocatedStore:
    """Return where a Zarr asset is: in the bucket, or behind the API if it is embargoed."""
    if client.uses_token:
        files, headers = client.get_url(f"/zarr/{quote(zarr)}/files/"), client.authorization()
        return LocatedStore(str(address), partial(_through_api, files), headers, md5_etags=True, record=record)
    for content in metadata.get("contentUrl") or []:
        root = _bucket_url(str(content))
        parts = urlsplit(root)
        if parts.scheme in ("http", "https") and parts.path.endswith(f"/{zarr}/"):
            return LocatedStore(str(address), partial(_below, root), {}, md5_etags=True, record=record)
    raise InputError("the archive does not say where the Zarr asset's files are", where=str(address))


def _below(root: str, key: str) -> str:
    return root + quote(key)


def _through_api(files: str, key: str) -> str:
    return f"{files}?prefix={quote(key, safe='')}&download=true"


def _bucket_url(url: str) -> str:
    from .s3 import https_url

    if not url.startswith("s3://"):
        return url
    bucket, _, key = url[len("s3://") :].partition("/")
    return https_url(S3Address(bucket, key))
