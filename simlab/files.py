"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

from simlab.errors import OutputError, printable

_REASONS = {
    errno.ENOSPC: "there is no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than allowed",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.EROFS: "the disk is read-only",
    errno.ENOENT: "there is no such folder",
    errno.EEXIST: "a file stands in the way",
    errno.ENOTDIR: "what should be its folder is a file",
    errno.EISDIR: "it is a folder",
}


def reason_of(error: OSError) -> str:
    """Return in words why a file could not be written."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a file so that, whatever happens, it holds either all of `data` or what it held before; who may read it stays.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    data : bytes or str
        What it shall hold; text is written as UTF-8, with its line ends as they are.

    Raises
    ------
    OutputError
        Where it cannot be written. The file is then as it was.
    """
    content = data.encode() if isinstance(data, str) else data
    # In the same folder, because only within one file system is a rename a single step.
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {printable(path)}: {reason_of(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
