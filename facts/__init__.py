"""READ: one file per kernel table, the same file names as in operations/."""
