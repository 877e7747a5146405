"""The encoder folder: export, load, preprocess, ONNX."""
