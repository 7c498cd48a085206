"""Models in other formats: ONNX files and 8-bit integers."""
