"""How a metanetwork is run, whatever it computes: in parts, with recomputation, within memory."""
