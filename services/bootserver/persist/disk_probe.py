"""`python -m services.bootserver.persist.disk_probe`: whether all machines are served, for a health check."""

from __future__ import annotations

from services.bootserver.persist import export_files
from services.kit.environment import environment
from walt.contracts import bootserver

if __name__ == "__main__":
    raise SystemExit(export_files.query_fault(environment().state_dir / bootserver.SERVICE) or None)
