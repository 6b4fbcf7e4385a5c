"""nodes: the registry of the platform. See `service.py`."""
