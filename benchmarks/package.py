"""What the package costs before it computes anything: seconds to import it, bytes on disk."""

from __future__ import annotations

import fnmatch
import importlib
import marshal
import re
import statistics
import subprocess
import sys
from pathlib import Path

PACKAGES = ("cbackend", "functorch_like", "nn")


def import_once(names: str) -> float:
    """Seconds that `import names` takes in a fresh process, the interpreter's start not counted."""
    code = f"import time; t = time.perf_counter(); import {names}; print(time.perf_counter() - t)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def import_seconds(names: str, runs: int = 7) -> float:
    """The median of some imports, after one that writes the bytecode."""
    import_once(names)
    return statistics.median(import_once(names) for _ in range(runs))


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
