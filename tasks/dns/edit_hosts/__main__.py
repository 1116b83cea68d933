"""Write the names of one copy to a hosts file, or remove them: python -I edit_hosts FILE COPY [NAMES]

Root runs this folder, so it uses only the standard library, and modules here do not import each other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import blocks  # type: ignore[import-not-found]
import shared_file  # type: ignore[import-not-found]


def main(file: str, copy: str, names: str = "") -> None:
    body = Path(names).read_text(encoding="ascii") if names else ""
    try:
        print(shared_file.edit(
            Path(file), lambda content: blocks.with_block(content, copy, body), blocks.with_lines_of))
    except (ValueError, OSError) as error:
        sys.exit(f"{file} was not changed: {error}")


main(*sys.argv[1:])
