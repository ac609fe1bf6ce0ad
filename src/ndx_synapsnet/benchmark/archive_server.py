"""What the loopback archive answers to the part of the DANDI API that clients use."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .archive_data import DataServer, object_path, retry_after, signature

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from .archive import Asset, LoopbackArchive

_DATE = "2026-01-01T00:00:00Z"


def application(archive: LoopbackArchive) -> web.Application:
    """Return the web application that serves `archive`."""
    api, data = _Api(archive), DataServer(archive)
    app = web.Application(middlewares=[api.middleware])
    dandiset = "/api/dandisets/{dandiset}"
    listing = dandiset + "/versions/{version}/assets/"
    app.add_routes(
        [
            web.get("/api/info/", api.info),
            web.get("/api/auth/token", api.auth_token),
            web.get(dandiset + "/", api.dandiset),
            web.get(dandiset + "/versions/", api.versions),
            web.get(dandiset + "/versions/{version}/info/", api.version_info),
            web.get(listing, api.listing),
            web.get("/api/zarr/{zarr}/files{slash:/?}", api.zarr_files),
            web.get("/blobs/{a}/{b}/{blob}", data.blob),
            web.get("/zarr/{zarr}/{key:.+}", data.zarr_entry),
            web.get("/files/{path:.+}", data.file),
        ]
    )
    for prefix in ("/api/assets/{asset}/", listing + "{asset}/"):
        app.add_routes(
            [
                web.get(prefix, api.asset),
                web.get(prefix + "info/", api.asset_info),
                web.get(prefix + "download/", api.download),
            ]
        )
    return app


class _Api:
    def __init__(self, archive: LoopbackArchive) -> None:
        self.archive = archive
        self.signed = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        archive = self.archive
        if not request.path.startswith("/api"):
            return await handler(request)
        archive.counts.api.append(f"{request.method} {request.path_qs}")
        archive.counts.api_tokens += "Authorization" in request.headers
        number, statuses = archive.api_requests, archive.faults.api_statuses
        archive.api_requests += 1
        if archive.line.latency:
            await asyncio.sleep(archive.line.latency)
        if number < len(statuses) and statuses[number]:
            return web.json_response({"detail": "injected"}, status=statuses[number], headers=retry_after(archive))
        if archive.embargoed and request.path != "/api/info/" and not self._has_token(request):
            return web.json_response({"detail": "Authentication credentials were not provided."}, status=401)
        return await handler(request)

    def _has_token(self, request: web.Request) -> bool:
        return hmac.compare_digest(request.headers.get("Authorization", ""), f"token {self.archive.token}")

    async def info(self, request: web.Request) -> web.Response:
        services = {"api": {"url": self.archive.api_url}, "webui": {"url": self.archive.url}}
        versions = {"cli-minimal-version": "0.60.0", "cli-bad-versions": []}
        return web.json_response({"schema_version": "0.7.0", "version": "0.3.0", "services": services, **versions})

    async def auth_token(self, request: web.Request) -> web.Response:
        if not self._has_token(request):
            return web.json_response({"detail": "Invalid token."}, status=401)
        return web.json_response({"token": self.archive.token})

    def _version(self, version: str) -> dict[str, Any]:
        assets = self.archive.assets(version)
        about = {"version": version, "name": "loopback", "created": _DATE, "modified": _DATE}
        counts = {"asset_count": len(assets), "size": sum(asset.size for asset in assets)}
        return {**about, **counts, "status": "Valid" if version == "draft" else "Published"}

    def _require_version(self, request: web.Request) -> str:
        archive, version = self.archive, request.match_info["version"]
        if request.match_info["dandiset"] != archive.dandiset or version not in ("draft", *archive.published):
            raise _not_found()
        return version

    async def dandiset(self, request: web.Request) -> web.Response:
        archive = self.archive
        if request.match_info["dandiset"] != archive.dandiset:
            raise _not_found()
        about = {"identifier": archive.dandiset, "created": _DATE, "modified": _DATE, "contact_person": "Doe, J."}
        latest = self._version(archive.published[-1]) if archive.published else None
        versions = {"draft_version": self._version("draft"), "most_recent_published_version": latest}
        status = "EMBARGOED" if archive.embargoed else "OPEN"
        return web.json_response({**about, **versions, "embargo_status": status})

    async def versions(self, request: web.Request) -> web.Response:
        archive = self.archive
        if request.match_info["dandiset"] != archive.dandiset:
            raise _not_found()
        return self._page(request, [self._version(version) for version in (*archive.published, "draft")])

    async def version_info(self, request: web.Request) -> web.Response:
        version = self._version(self._require_version(request))
        return web.json_response({**version, "asset_validation_errors": [], "version_validation_errors": []})

    async def listing(self, request: web.Request) -> web.Response:
        assets, query = self.archive.assets(self._require_version(request)), request.query
        if prefix := query.get("path"):
            assets = [asset for asset in assets if asset.path.startswith(prefix)]
        if glob := query.get("glob"):  # as the real one: a star crosses slashes, case does not matter
            pattern = re.compile(re.escape(glob).replace(r"\*", ".*"), re.IGNORECASE)
            assets = [asset for asset in assets if pattern.fullmatch(asset.path)]
        if query.get("order", "").startswith("-"):
            assets.reverse()
        return self._page(request, [_listed(asset) for asset in assets])

    def _page(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        number, size = int(request.query.get("page", 1)), int(request.query.get("page_size", self.archive.page_size))
        following = str(request.url.update_query(page=number + 1)) if number * size < len(items) else None
        page = items[(number - 1) * size : number * size]
        return web.json_response({"count": len(items), "next": following, "previous": None, "results": page})

    def _asset(self, request: web.Request) -> Asset:
        version = self._require_version(request) if "version" in request.match_info else "draft"
        for asset in self.archive.assets(version):
            if asset.asset_id == request.match_info["asset"]:
                return asset
        raise _not_found()

    async def _metadata(self, asset: Asset) -> dict[str, Any]:
        archive = self.archive
        digest = {} if asset.is_zarr else dict(await asyncio.to_thread(archive.digests, asset.file))
        digest.pop("md5", None)
        status = "dandi:EmbargoedAccess" if archive.embargoed else "dandi:OpenAccess"
        return {
            "id": f"dandiasset:{asset.asset_id}",
            "identifier": asset.asset_id,
            "schemaKey": "Asset",
            "schemaVersion": "0.7.0",
            "path": asset.path,
            "contentSize": asset.size,
            "encodingFormat": "application/x-zarr" if asset.is_zarr else "application/x-nwb",
            "digest": digest,
            "access": [{"schemaKey": "AccessRequirements", "status": status}],
            "contentUrl": [
                f"{archive.api_url}/assets/{asset.asset_id}/download/",
                f"{archive.data_url}{object_path(asset)}",
            ],
        }

    async def asset(self, request: web.Request) -> web.Response:
        return web.json_response(await self._metadata(self._asset(request)))

    async def asset_info(self, request: web.Request) -> web.Response:
        asset = self._asset(request)
        return web.json_response({**_listed(asset), "metadata": await self._metadata(asset)})

    async def download(self, request: web.Request) -> web.Response:
        asset = self._asset(request)
        if asset.is_zarr:
            return web.json_response({"detail": "Unable to provide download link for zarr assets"}, status=400)
        raise web.HTTPFound(self._presigned(object_path(asset)))

    async def zarr_files(self, request: web.Request) -> web.Response:
        for asset in self.archive.assets():
            if asset.is_zarr and asset.object_id == request.match_info["zarr"]:
                break
        else:
            raise _not_found()
        prefix = request.query.get("prefix", "")
        if request.query.get("download") == "true":
            raise web.HTTPFound(self._presigned(object_path(asset) + prefix))
        keys = sorted(file.relative_to(asset.file).as_posix() for file in asset.file.rglob("*") if file.is_file())
        entries = [
            {"Key": key, "LastModified": _DATE, "ETag": "0" * 32, "Size": (asset.file / key).stat().st_size}
            for key in keys
            if key.startswith(prefix)
        ]
        return self._page(request, entries)

    def _presigned(self, path: str) -> str:
        seconds = self.archive.faults.expire_seconds
        self.signed += 1
        serial, expires = str(self.signed), f"{time.time() + (3600 if seconds is None else seconds):.3f}"
        query = f"X-Amz-Credential={serial}&X-Amz-Date={expires}&X-Amz-Signature={signature(path, serial, expires)}"
        return f"{self.archive.data_url}{path}?{query}"


def _listed(asset: Asset) -> dict[str, Any]:
    held = {"zarr": asset.object_id, "blob": None} if asset.is_zarr else {"blob": asset.object_id, "zarr": None}
    about = {"asset_id": asset.asset_id, "path": asset.path, "size": asset.size}
    return {**about, **held, "created": _DATE, "modified": _DATE}


def _not_found() -> web.HTTPNotFound:
    return web.HTTPNotFound(text='{"detail":"Not found."}', content_type="application/json")
