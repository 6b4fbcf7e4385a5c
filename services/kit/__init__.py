"""What every service process shares: start-up, entry points with the caller's identity, metrics, peers, files.

Nothing in here knows any service; importing `kit` itself imports neither nameko nor eventlet.
"""
