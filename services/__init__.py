"""The five services, what they share (kit) and what they say to each other (contracts)."""
