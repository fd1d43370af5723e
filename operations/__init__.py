"""WRITE: one file per kernel table, the same file names as in facts/."""
