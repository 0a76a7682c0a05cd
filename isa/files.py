"""Reading and writing files so that a mistake is one line and a failure leaves nothing behind."""

import os
import secrets
from pathlib import Path

from isa.errors import UserError


def read_bytes(path: str | Path) -> bytes:
    """The whole file; raises UserError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(str(path), f"cannot read: {error.strerror or error}") from error


def read_text(path: str | Path) -> str:
    """The whole file, UTF-8; raises UserError."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(str(path), f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from error


def write(path: str | Path, data: bytes | str) -> None:
    """Write all of the file or nothing of it: a temporary file in the same folder takes its place once complete.

    What is no regular file (``/dev/stdout``, a pipe) is written to directly.

    Raises:
        UserError: the file cannot be written; whatever stood there before still does.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)
            return
        try:
            temporary.write_bytes(content)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"cannot write: {getattr(error, 'strerror', None) or error}") from error
