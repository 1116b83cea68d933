"""Where `inv` starts. Invoke looks for tasks.py before tasks/, so this hands over to the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
del sys.modules[__name__]  # Invoke registered this file as "tasks"; the import below must find the package

from tasks import ns  # noqa: E402, F401
