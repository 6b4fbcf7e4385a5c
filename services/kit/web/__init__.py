"""HTTP: pages of a service, and its metrics."""
