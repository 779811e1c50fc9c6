"""The command ``python -m gateway.workers``: server processes on one port, as WORKERS says."""

from __future__ import annotations

import sys

from .environment import load_env
from .processes.supervisor import main

if __name__ == "__main__":
    load_env()
    sys.exit(main())
