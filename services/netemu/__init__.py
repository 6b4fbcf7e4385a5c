"""netemu: the emulated networks of one host. `service.py` is the way in."""
