"""What the rules of tracing say happens to weights: combined, contracted, normalised, looked up, carried on."""
