"""Arrays and graphs: tensors, the backward walk, kernels; knows no operation."""
