"""dandi's client with this program's manners: time limits, few words, no questions, the token to one host only."""

from __future__ import annotations

import ipaddress
import os
import random
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
from dandi.consts import DandiInstance
from dandi.dandiapi import DandiAPIClient, RESTFullAPIClient
from dandi.exceptions import HTTP404Error
from requests.auth import AuthBase

from ...errors import InputError
from .remote.options import RemoteOptions
from .uri import known_instances

_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}


class _Transient(Exception):
    """A failure that another attempt may mend."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _TokenAuth(AuthBase):
    """Sends the token to the API and to nobody else; also keeps requests from looking into a ``.netrc``."""

    def __init__(self, api_url: str) -> None:
        self.origin = _origin(api_url)
        self.token: str | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None and _origin(request.url or "") == self.origin:
            request.headers["Authorization"] = f"token {self.token}"
        return request


class ArchiveClient(DandiAPIClient):
    """A client of one archive that has a token ready, and uses it only once the archive asks for one.

    Parameters
    ----------
    instance : str
        A name that dandi knows, or the address of an API.
    options : RemoteOptions
        Time limits and attempts.
    where : str
        What is looked for, for messages.
    """

    def __init__(self, instance: str, options: RemoteOptions, *, where: str) -> None:
        known = known_instances()
        self.name = instance if instance in known else urlsplit(instance).netloc
        api_url = known[instance][1] if instance in known else instance.rstrip("/")
        # not DandiAPIClient's: that asks the network for its own newest version, and has no time limits
        RESTFullAPIClient.__init__(self, api_url)
        self.dandi_instance = DandiInstance(name=self.name, gui=None, api=api_url)
        self._options, self._where = options, where
        self._auth = self.session.auth = _TokenAuth(api_url)

    @property
    def uses_token(self) -> bool:
        """Whether the archive asked for a token."""
        return self._auth.token is not None

    def authorization(self) -> dict[str, str]:
        """Return the request headers that carry the token in use, if any."""
        return {} if self._auth.token is None else {"Authorization": f"token {self._auth.token}"}

    def request(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        headers: dict[str, str] | None = None,
        json_resp: bool = True,
        stream: bool = False,
        **unused: Any,
    ) -> Any:
        """Send a request, again where that may help; see the base class.

        Raises
        ------
        HTTP404Error
            If there is no such thing.
        InputError
            If the archive cannot be reached, fails, or wants a token.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            stop=tenacity.stop_after_attempt(self._options.tries),
            wait=self._pause,
            reraise=True,
        )
        url = self.get_url(path)
        try:
            response: requests.Response = retrying(self._attempt, method, url, params, headers or {}, stream)
        except _Transient as error:
            raise InputError(
                f"the archive at {urlsplit(self.api_url).netloc} does not answer ({error})",
                where=self._where,
                remedy="Check the network connection, or try again later; a downloaded file can be given by its path",
            ) from error
        if not json_resp:
            return response
        try:
            return response.json() if response.content.strip() else None
        except requests.JSONDecodeError as error:
            raise InputError(
                f"{urlsplit(self.api_url).netloc} answered something else than an archive does",
                where=self._where,
                remedy="Check the address of the API (--instance): it usually ends in /api",
            ) from error

    def _attempt(
        self, method: str, url: str, params: dict[str, Any] | None, headers: dict[str, str], stream: bool
    ) -> requests.Response:
        for _ in range(4):  # redirects, and one answer that asks for a token
            if _origin(url) != self._auth.origin:
                raise InputError("the archive refers to another server", where=self._where)
            sent_token = self._auth.token
            try:
                response = self.session.request(
                    method, url, params=params, headers={"Accept": "application/json", **headers} if not stream else {},
                    timeout=self._options.timeout, allow_redirects=False, stream=stream,
                )  # fmt: skip
            except requests.Timeout as error:
                raise _Transient("no answer in time") from error
            except requests.exceptions.SSLError as error:
                raise InputError("the archive's certificate is not trusted", where=self._where) from error
            except requests.ConnectionError as error:
                raise _Transient("no connection") from error
            except requests.RequestException as error:
                raise InputError(f"the archive cannot be asked ({type(error).__name__})", where=self._where) from error
            if response.status_code in (401, 403):
                response.close()
                self._take_token(sent_token)
                continue
            target = response.headers.get("Location")
            if response.status_code in _REDIRECTS and target and not stream:
                url, params = urljoin(response.url, target), None
                continue
            return self._usable(response)
        raise InputError("the archive redirects without end", where=self._where)

    def _usable(self, response: requests.Response) -> requests.Response:
        if response.status_code >= 400:
            response.close()
        if response.status_code in _TRY_AGAIN:
            asked = response.headers.get("Retry-After", "")
            raise _Transient(f"it answered {response.status_code}", float(asked) if asked.isdecimal() else None)
        if response.status_code == 404:
            raise HTTP404Error("not found", response=response)
        if response.status_code >= 400:
            raise InputError(f"the archive answered {response.status_code}", where=self._where)
        return response

    def _pause(self, state: tenacity.RetryCallState) -> float:
        longest = min(self._options.max_wait, self._options.backoff * 2.0 ** (state.attempt_number - 1))
        jittered = random.uniform(longest / 2, longest)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, _Transient) else None
        return jittered if asked is None else min(self._options.max_wait, asked + jittered)

    def _take_token(self, refused: str | None) -> None:
        """Have the next request sent with the token, after one was refused with `refused`."""
        variable = token_variable(self.name)
        if refused is not None:
            raise InputError(
                "the archive refuses the token: it is wrong, has expired, or may not read this",
                where=self._where,
                remedy=f"Set {variable} to a token from your account on the archive's page",
            )
        token = find_token(self.name)
        if token is None:
            raise InputError(
                "this is embargoed or private, and there is no token",
                where=self._where,
                remedy=f"Set {variable} to a token from your account on the archive's page, or store one with dandi",
            )
        parts = urlsplit(self.api_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise InputError(
                "the archive wants a token, which is not sent over an insecure connection",
                where=self._where,
                remedy="Give the archive's https address (--instance)",
            )
        self._auth.token = token


def token_variable(name: str) -> str:
    """Return the environment variable that holds the token of an archive: ``DANDI_API_KEY`` for ``dandi``.

    Each archive has its own, so that one's token is never shown to another; a server on this machine shares DANDI's.
    """
    if is_loopback(urlsplit(f"//{name}").hostname or ""):
        name = "dandi"
    return re.sub(r"[^A-Z0-9]", "_", name.upper()) + "_API_KEY"


def find_token(name: str) -> str | None:
    """Return the token of an archive from its variable or the keyring; never asks."""
    return os.environ.get(token_variable(name), "").strip() or _from_keyring(f"dandi-api-{name}")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _from_keyring(service: str) -> str | None:
    """Look into the keyring where dandi stores tokens, but into no store that would ask for a password."""
    try:
        from keyring.core import get_keyring, load_config, load_env
        from keyrings.alt.file import EncryptedKeyring

        backend = load_env() or load_config() or get_keyring()
        for store in getattr(backend, "backends", [backend]):
            if not isinstance(store, EncryptedKeyring):
                token = store.get_password(service, "key")
                if token:
                    return str(token)
    except Exception:  # keyrings fail in many ways, and without one there is just no token
        return None
    return None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
