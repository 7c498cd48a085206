"""Limits on visitors' requests."""

MAX_UPLOAD = 50 * 2**20
"""Bytes of an uploaded file: 50 MB in Gradio's unit of 2^20 bytes."""
MAX_REQUEST = 1_000_000
"""Bytes of a request that is not an upload."""
MAX_PIXELS = 16_000_000
"""Px of an input image; a small file can decode to gigapixels."""
MAX_RESULT = 256_000_000
"""Px of a result."""
MAX_ENSEMBLE_PIXELS = 2_000_000
"""Px of an input image with self-ensemble, which runs the model eight times."""
MAX_LEARNED_PIXELS = 2_000_000
"""Px of a zero-shot result."""
MAX_SHOWN = 12_000_000
"""Px of the images in the comparison, which is downsampled if needed; the download is not."""
MAX_IMAGES = 20
"""Images that run one after another in one job."""
MAX_WAITING = 8
"""Jobs in the queue; one job runs at a time."""
KEEP_SECONDS = 3600
"""Time after which uploads and results are deleted; they are kept for at most twice as long."""
GPU_SECONDS = 120
"""GPU time that a job requests from ZeroGPU."""
