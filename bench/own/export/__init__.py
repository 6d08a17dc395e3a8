"""Pruned networks out of the store: as a module of PyTorch, as ONNX, as safetensors."""
