"""The command ``python -m gateway.workers``: server processes on one port, as WORKERS says."""

from __future__ import annotations

import sys

from .processes.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
