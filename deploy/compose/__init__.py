"""What `docker compose` runs once: secrets and the broker's files (`setup`), the default OS image (`images`)."""
