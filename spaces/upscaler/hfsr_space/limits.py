"""What a visitor may ask for: every limit of the Space, in one place."""

MAX_UPLOAD = 50_000_000
"""Bytes of a picture's file."""
MAX_REQUEST = 1_000_000
"""Bytes of a request that is no upload: names and numbers."""
MAX_PIXELS = 16_000_000
"""Px of the picture given: a small file can decode to gigapixels."""
MAX_ENSEMBLE_PIXELS = 2_000_000
"""The same with self-ensemble, which does the work of eight pictures."""
MAX_LEARNED_PIXELS = 2_000_000
"""Px of a zero-shot result."""
MAX_SHOWN = 12_000_000
"""Px of the comparison: browsers choke on more; the download is always whole."""
MAX_WAITING = 8
"""Jobs in the queue; one at a time is in work, of whatever kind."""
KEEP_SECONDS = 3600
"""How long uploads and results stay on the server, at least; twice as long at most."""
GPU_SECONDS = 120
"""What a job asks of ZeroGPU."""
