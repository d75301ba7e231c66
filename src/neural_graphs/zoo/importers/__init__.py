"""Networks that others trained, brought into zoos: published sets, and a user's own checkpoints."""
