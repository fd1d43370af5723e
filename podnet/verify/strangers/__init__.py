"""Clusters that somebody else set up, compared by what they do."""
