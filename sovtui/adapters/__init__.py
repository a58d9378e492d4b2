"""What speaks to the outside: links, services, figures, engines, alerts, backups. Nothing above knows their libraries."""

import sys

# httpx's command line, which nobody calls here, would bring click and half of Rich along where they are installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
# httpcore wants it for its locks only: `links._http_locks` has them.
sys.modules.setdefault("anyio", None)  # type: ignore[arg-type]
