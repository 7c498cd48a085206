"""Exact execution in pieces: any network of ours on any size of picture, in bounded memory."""
