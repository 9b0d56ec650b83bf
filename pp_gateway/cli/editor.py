"""A file in the editor of whoever sits at the terminal."""

import os
import shlex
import subprocess
from pathlib import Path

from pp_resources.errors import UserError


def edit_file(file: Path) -> None:
    """Open a file in the person's editor and wait. Raises UserError where that does not end well."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        done = subprocess.run([*editor, str(file)])
    except OSError as error:
        raise UserError(f"{editor[0]} does not start ({error.strerror})", where="EDITOR", how="name an editor in EDITOR") from None
    if done.returncode:
        raise UserError(f"{editor[0]} ended with {done.returncode}", where="EDITOR", how="nothing was changed")
