"""What the decode loop (`inference.decoding`) is made of: steps, drafts, prefixes, healing, stopping."""
