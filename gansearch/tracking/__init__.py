"""Trials followed in TensorBoard, MLflow or Weights & Biases, beside the tables, which stay the only truth."""
