"""Devices, dtypes and memory of the machine."""
