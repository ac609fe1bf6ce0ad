"""A real browser, and servers of notebooks for it to visit. Skipped, with the reason, where one of them is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_SECONDS = 60.0


@dataclass
class Visit:
    """A page that was opened, and what it complained of and asked for."""

    page: Any
    """Playwright's page."""
    errors: list[str] = field(default_factory=list)
    """Errors on the console, uncaught exceptions, and requests to this machine that failed."""
    outside: list[str] = field(default_factory=list)
    """Requests to other machines; they are answered with nothing."""

    def picture(self, name: str) -> None:
        """Keep a screenshot of the whole page, if NDX_SYNAPSNET_SCREENSHOTS names a folder for them."""
        if folder := os.environ.get("NDX_SYNAPSNET_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium; it and Playwright's event loop end with the tests of the module."""
    path = os.environ.get("NDX_SYNAPSNET_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium (on Debian: apt-get install chromium; NDX_SYNAPSNET_CHROMIUM names another)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: test)")
    # root may not use the sandbox
    sandbox = () if not hasattr(os, "geteuid") or os.geteuid() else ("--no-sandbox",)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS, *sandbox])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visit]]:
    """Open pages; they close with the test."""
    with ExitStack() as opened:

        def open_page(address: str, **context: Any) -> Visit:
            surroundings = chromium.new_context(**context)
            opened.callback(surroundings.close)
            seen = Visit(surroundings.new_page())
            seen.page.route("**/*", lambda route: _only_here(seen, route))
            seen.page.on("console", lambda said: seen.errors.append(said.text) if said.type == "error" else None)
            seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
            seen.page.on("requestfailed", lambda request: seen.errors.append(f"{request.url}: {request.failure}"))
            seen.page.goto(address, timeout=_START_SECONDS * 1000)
            return seen

        yield open_page


def _only_here(seen: Visit, route: Any) -> None:
    parts = urlsplit(route.request.url)
    if parts.scheme in ("file", "data", "blob") or parts.hostname == "127.0.0.1":
        route.continue_()
    else:
        seen.outside.append(route.request.url)
        route.fulfill(status=200, body="")


def voila(notebook: Path, port: int) -> tuple[list[str], str]:
    """Return what serves a notebook as a page, and its path there: all cells are run, only outputs are shown."""
    return ["voila", str(notebook), f"--port={port}", "--Voila.ip=127.0.0.1"], ""


def lab(notebook: Path, port: int) -> tuple[list[str], str]:
    """Return what serves JupyterLab over the folder of a notebook, and the path at which that is open."""
    arguments = [
        f"--port={port}",
        "--ip=127.0.0.1",
        "--allow-root",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={notebook.parent}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--expose-app-in-browser",
    ]
    return ["jupyter", "lab", *arguments], f"lab/tree/{notebook.name}?reset"


@contextmanager
def served(server: Callable[[Path, int], tuple[list[str], str]], notebook: Path, home: Path) -> Iterator[str]:
    """Serve a notebook, and yield its address; `home` is for what Jupyter writes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module, path = server(notebook, port)
    command = [sys.executable, "-m", *module, "--no-browser"]
    own = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{kind}_DIR": str(home / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own, "IPYTHONDIR": str(home / "ipython"), "OMP_NUM_THREADS": "1"},
        )
    try:
        _wait(f"http://127.0.0.1:{port}/static/", process, log)
        yield f"http://127.0.0.1:{port}/{path}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError as answer:  # any answer will do
            answer.close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Serve notebooks as pages by Voila until the tests of the module are done."""
    pytest.importorskip("voila", reason="voila is not installed (extra: test)")
    with ExitStack() as running:
        yield lambda notebook: running.enter_context(served(voila, notebook, tmp_path_factory.mktemp("jupyter")))


@pytest.fixture(scope="module")
def serve_in_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Serve notebooks in JupyterLab until the tests of the module are done."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed (extra: test)")
    with ExitStack() as running:
        yield lambda notebook: running.enter_context(served(lab, notebook, tmp_path_factory.mktemp("jupyter")))
