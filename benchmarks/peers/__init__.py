"""dlcore beside PyTorch, JAX, ONNX Runtime, NumPy and raxis, each case in turns: python -m benchmarks.peers"""
