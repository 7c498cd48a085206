"""Loading: models by name, and downloads of models, cards and data sets into the Hub's cache."""
