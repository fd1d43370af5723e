"""Why a pair of pods fails: the first table on its way that is wrong."""
