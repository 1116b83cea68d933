"""`inv` as a process of its own, for a project's folder of the test and with the system's files below another one."""

import sys
from pathlib import Path
from types import ModuleType

source, folder, root = sys.argv[1:4]
sys.path.insert(0, source)

from invoke.loader import FilesystemLoader  # noqa: E402
from invoke.main import program  # noqa: E402

import tasks  # noqa: E402
from tasks.core import setting_types, shell, system_files  # noqa: E402


class Loaded(FilesystemLoader):
    def load(self, name: str | None = None) -> tuple[ModuleType, str]:
        return tasks, folder


system_files.ROOT = Path(root)
if source != folder:
    setting_types.PROJECT = Path(folder)
    shell.SBIN = ()  # type: ignore[assignment]
program.loader_class = Loaded
program.run(["inv", *sys.argv[4:]])
