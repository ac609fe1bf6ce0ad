"""The namespace's files travel with every kind of installation."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = ("ndx-synapsnet.namespace.yaml", "ndx-synapsnet.extensions.yaml", "ndx-synapsnet.extensions.json")

LOADS = """
    import site, sys
    site.addsitedir(sys.argv[1])
    sys.path.insert(0, sys.argv[2])
    import ndx_synapsnet
    from ndx_synapsnet.nwb.types import namespace_path
    assert "torch" not in sys.modules
    print(ndx_synapsnet.__file__)
    print(namespace_path())
    print(ndx_synapsnet.FunctionalConnectivity.__name__)
"""


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def load(site: Path, first: Path) -> tuple[Path, Path]:
    """Import the package from an installation; return the paths of its module and of its namespace."""
    module, namespace, name = run(sys.executable, "-c", textwrap.dedent(LOADS), str(site), str(first)).splitlines()
    assert name == "FunctionalConnectivity"
    return Path(module), Path(namespace)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    pytest.importorskip("build")
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    # from a copy, since others may be at work in the checkout
    for name in ("src", "spec"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(checkout))
    return out


def install(wheel: Path, target: Path) -> None:
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--target",
        str(target),
        str(wheel),
    )


def test_wheel_holds_the_namespace(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"ndx_synapsnet/show/report.css", *(f"ndx_synapsnet/spec/{name}" for name in SPEC)} <= held
    install(wheel, tmp_path)
    module, namespace = load(tmp_path, tmp_path)
    assert module == tmp_path / "ndx_synapsnet" / "__init__.py"
    assert namespace == tmp_path / "ndx_synapsnet" / "spec" / SPEC[0]
    for name in SPEC:
        assert (namespace.parent / name).read_text() == (ROOT / "spec" / name).read_text()


def test_sdist_holds_the_namespace_and_its_generator(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    for name in (*SPEC, "create_extension_spec.py"):
        assert (unpacked / "spec" / name).read_text() == (ROOT / "spec" / name).read_text()
    module, namespace = load(tmp_path / "nothing", unpacked / "src")
    assert module.is_relative_to(unpacked)
    assert namespace == unpacked / "spec" / SPEC[0]


def test_editable_install_finds_the_namespace_of_the_checkout(tmp_path: Path) -> None:
    script = f"from hatchling.build import build_editable; print(build_editable({str(tmp_path)!r}))"
    wheel = tmp_path / run(sys.executable, "-c", script).split()[-1]
    install(wheel, tmp_path / "site")
    assert not (tmp_path / "site" / "ndx_synapsnet" / "__init__.py").exists()
    (link,) = (tmp_path / "site").glob("*.pth")
    assert str(ROOT / "src") in link.read_text()
    module, namespace = load(tmp_path / "site", tmp_path / "nothing")
    assert module == ROOT / "src" / "ndx_synapsnet" / "__init__.py"
    assert namespace == ROOT / "spec" / SPEC[0]
