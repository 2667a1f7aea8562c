"""The reference inference service: features from a cache or sharded PostgreSQL, an ONNX model, HTTP."""
