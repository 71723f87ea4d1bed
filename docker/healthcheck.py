"""Whether a container is well: HEALTH names what must answer, ``host:port``; without it, the image itself must work."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version

address = os.environ.get("HEALTH")
if address is None:
    version("archsweep")
else:
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()
