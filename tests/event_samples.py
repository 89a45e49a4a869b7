"""Lines of event logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def event(doc: Any, kind: str = "click", days: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"_id": doc, "event": kind, "time": (NOW - timedelta(days=days)).isoformat(), **more}
