"""What crosses the bus: errors, the settings grammar, and one module of messages per service.

Pure: imports only the standard library (and marshmallow, in `wire`), so that the CLI loads it quickly.
"""
