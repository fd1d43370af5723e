"""What else is sent between pods, nodes and the outside, and which devices count it."""
