"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from simlab.errors import OutputError

_WORDS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file stands where a folder is needed",
}


def os_error_text(error: OSError) -> str:
    """Return what went wrong with a file, in words."""
    return _WORDS.get(error.errno or 0, error.strerror or str(error))


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file so that it appears whole or not at all; its folder is made.

    Parameters
    ----------
    path : Path
        Where. A file that stands there is replaced in one step, and only once the new one is on the disk.
    content : bytes or str
        Text is written as UTF-8.

    Raises
    ------
    OutputError
        If it cannot be written: no space, no permission; what stood there before is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {os_error_text(error)}") from None
