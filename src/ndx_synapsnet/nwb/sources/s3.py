"""Objects of public S3 buckets, by the bucket's own web address."""

from __future__ import annotations

import os
from functools import lru_cache
from urllib.parse import quote

from ...errors import InputError
from .remote.location import Located
from .remote.options import RemoteOptions
from .uri import REGION, S3Address


def https_url(address: S3Address, region: str | None = None) -> str:
    """Return the web address of an object in a bucket.

    The variables ``AWS_ENDPOINT_URL_S3`` and ``AWS_ENDPOINT_URL`` name another server than Amazon's, as they do for
    Amazon's own tools.
    """
    key = quote(address.key, safe="/")
    query = f"?versionId={quote(address.version_id, safe='')}" if address.version_id else ""
    endpoint = _endpoint()
    region = region or address.region
    if endpoint is None:
        host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
        if "." not in address.bucket and "_" not in address.bucket and address.bucket == address.bucket.lower():
            return f"https://{address.bucket}.{host}/{key}{query}"
        endpoint = f"https://{host}"  # by path: the certificate does not cover such names
    return f"{endpoint}/{address.bucket}/{key}{query}"


def locate_s3(address: S3Address, options: RemoteOptions) -> Located:
    """Return where an object of a public bucket is; asks for the bucket's region unless that is given.

    Raises
    ------
    InputError
        If the server cannot be reached, or there is no such bucket.
    """
    region = address.region
    if region is None and _endpoint() is None:
        region = _region(address.bucket, options)
    url = https_url(address, region)
    return Located(uri=str(address), url=lambda: url, record={"bucket": address.bucket, "key": address.key})


def _endpoint() -> str | None:
    text = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return text.rstrip("/") if text else None


def _region(bucket: str, options: RemoteOptions) -> str | None:
    """Return the region that a bucket says it is in; None: it does not say, or nothing that can be one."""
    return _stated_region(bucket, options.timeout, options.tries, options.backoff, options.max_wait)


@lru_cache(maxsize=256)
def _stated_region(bucket: str, timeout: float, tries: int, backoff: float, max_wait: float) -> str | None:
    import requests
    import tenacity

    def ask() -> requests.Response:
        response = requests.head(https_url(S3Address(bucket, "")), timeout=timeout, allow_redirects=False)
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise requests.HTTPError(f"it answered {response.status_code}")
        return response

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(requests.RequestException),
        stop=tenacity.stop_after_attempt(tries),
        wait=tenacity.wait_random_exponential(multiplier=backoff, max=max_wait),
        reraise=True,
    )
    try:
        response = retrying(ask)
    except requests.RequestException as error:
        raise InputError(
            "Amazon's server cannot be reached", where=f"s3://{bucket}", remedy="Check the network connection"
        ) from error
    if response.status_code == 404:
        raise InputError("there is no such bucket", where=f"s3://{bucket}", remedy="Check its name")
    region = response.headers.get("x-amz-bucket-region", "")
    return region if REGION.fullmatch(region) else None  # it becomes part of a host's name
