"""bootserver: see service.py."""
