"""Where `inv` starts. Invoke looks for tasks.py before tasks/, so this hands over to the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
del sys.modules[__name__]  # Invoke registered this file as "tasks"; the import below must find the package

# Invoke switches .pyc files off, and every start would compile all modules again: as Python was started is right.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from tasks import ns  # noqa: E402, F401
