"""The one way a lab fails: a sentence with a way out, printed without a traceback."""


class LabError(Exception):
    """A lab cannot do what was asked; the message says why, and what to do."""
