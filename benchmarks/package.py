"""What the package costs before it computes anything: seconds to import it, bytes on disk."""

from __future__ import annotations

import fnmatch
import importlib
import marshal
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("cbackend", "functorch_like", "nn")


def import_once(names: str, cache: str | None = None) -> float:
    """Seconds that `import names` takes in a fresh process, the interpreter's start not counted.

    The process looks for modules where this one does: asv takes PYTHONPATH out of the environment.

    Args:
      cache: a folder for bytecode, instead of the places beside the sources.
    """
    code = (
        f"import sys, time; sys.path[:] = {sys.path!r}; t = time.perf_counter(); import {names}; "
    )
    code += "print(time.perf_counter() - t)"
    env = dict(os.environ)
    if cache is not None:
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        env["PYTHONPYCACHEPREFIX"] = cache
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    return float(run.stdout)


def import_seconds(names: str, runs: int = 7) -> float:
    """The median of some imports, after one that writes the bytecode: users import it compiled.

    Where Python is told not to write any (PYTHONDONTWRITEBYTECODE), it goes to a temporary folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = folder if sys.dont_write_bytecode else None
        import_once(names, cache)
        return statistics.median(import_once(names, cache) for _ in range(runs))


def installed_files() -> list[Path]:
    """The files of the three packages that an installation has, without bytecode.

    In a checkout these are the files that go into the wheel (pyproject.toml says which do not),
    and the compiled module, wherever it lies.
    """
    files = {Path(importlib.import_module("cbackend._cffi").__file__ or "").resolve()}
    for name in PACKAGES:
        for folder in importlib.import_module(name).__path__:
            root = Path(folder).resolve()
            config = root.parent / "pyproject.toml"
            excluded = wheel_excludes(config) if config.exists() else []
            for path in root.rglob("*"):
                place = path.relative_to(root.parent).as_posix()
                wanted = path.suffix not in (".pyc", ".so", ".pyd")
                if (
                    path.is_file()
                    and wanted
                    and not any(fnmatch.fnmatch(place, e) for e in excluded)
                ):
                    files.add(path)
    return sorted(files)


def wheel_excludes(config: Path) -> list[str]:
    """The patterns of files that a wheel leaves out."""
    found = re.search(r"^wheel\.exclude = \[(.*?)^\]", config.read_text("utf-8"), re.M | re.S)
    return re.findall(r'"(.+?)"', found[1]) if found else []


def installed_bytes() -> int:
    """Bytes of an installation: its files, and the bytecode that pip writes beside them."""
    total = 0
    for path in installed_files():
        content = path.read_bytes()
        total += len(content)
        if path.suffix == ".py":
            total += 16 + len(marshal.dumps(compile(content, str(path), "exec")))
    return total
