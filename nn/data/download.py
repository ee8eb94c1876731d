"""Fetching files: checked, resumed where they broke off, never half a file under the final name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["download", "file_sha256"]

_PIECE = 1 << 20


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    progress: bool | Callable[[int, int | None], None] = True,
    timeout: float = 30.0,
) -> str:
    """Fetch a file unless it is there already.

    The bytes arrive in `path + ".part"`. A later call goes on where an earlier one broke off (if
    the server can), and the file gets its name when it is whole and its checksum is right.

    Args:
      url: http, https, ftp or file.
      path: where to put the file; its folder is made.
      sha256: what the file's SHA-256 must be, in hexadecimal; None does not check.
      progress: True draws a bar where tqdm is installed; a function gets (bytes so far, bytes in
        all or None).
      timeout: seconds without an answer after which to give up.
    Returns:
      The path.
    Raises:
      OSError: the server cannot be reached or refuses. What has arrived stays for the next call.
      ValueError: the checksum is another one; the file is removed.
    Example:
      >>> import pathlib, tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "a.txt").write_text("hello")
      >>> path = download((folder / "a.txt").as_uri(), folder / "b.txt", progress=False)
      >>> pathlib.Path(path).read_text()
      'hello'
    """
    path = os.fspath(path)
    if os.path.exists(path) and (sha256 is None or file_sha256(path) == sha256.lower()):
        return path
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    part = path + ".part"
    report = _bar(os.path.basename(path)) if progress is True else progress or None
    try:
        _fetch(url, part, report, timeout)
    finally:
        if progress is True and report is not None:
            report.close()  # type: ignore[attr-defined]
    if sha256 is not None and (got := file_sha256(part)) != sha256.lower():
        os.remove(part)
        raise ValueError(
            f"download: expected a file with SHA-256 {sha256}, got {got} from {url}. "
            "Try again, or check the address."
        )
    os.replace(part, path)
    return path


def _fetch(url: str, part: str, report: Any, timeout: float) -> None:
    import urllib.error
    import urllib.request

    here = os.path.getsize(part) if os.path.exists(part) else 0
    headers = {"Range": f"bytes={here}-"} if here else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and here:  # nothing is left to fetch, or the file has changed
            os.remove(part)
            return _fetch(url, part, report, timeout)
        raise OSError(f"download: expected {url}, got {error}. Check the address.") from error
    except urllib.error.URLError as error:
        raise OSError(
            f"download: expected an answer from {url}, got {error.reason}. "
            "Check the network, or put the file in place by hand."
        ) from error
    with answer:
        resumed = getattr(answer, "status", None) == 206
        done = here if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        with open(part, "ab" if resumed else "wb") as file:
            while piece := answer.read(_PIECE):
                file.write(piece)
                done += len(piece)
                if report is not None:
                    report(done, total)
    if total is not None and done != total:
        raise OSError(
            f"download: expected {total} bytes from {url}, got {done}. Call again to go on."
        )


def _bar(name: str) -> Any:
    """A progress bar as a function of (done, total); None without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None

    class Bar:
        def __init__(self) -> None:
            self.bar = tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024)

        def __call__(self, done: int, total: int | None) -> None:
            self.bar.total = total
            self.bar.update(done - self.bar.n)

        def close(self) -> None:
            self.bar.close()

    return Bar()
