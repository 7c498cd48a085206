"""Models, cards and data sets from the Hub into the local cache, and networks from there."""
