"""The order in which rows of feature maps are computed and freed."""
