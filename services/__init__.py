"""The five services and what they share (kit). What they say to each other is in walt.contracts."""
