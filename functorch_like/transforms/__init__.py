"""Function transforms, and functions with rules of their own.

The interpreters are vjp_trace (reverse mode), jvp_trace (forward mode) and vmap_trace; jet and
collapsed carry Taylor series, replay records. gradients, products, jacobians, derivatives, vmap,
sparsity and per_sample are compositions of those. custom, function and rules let functions bring
rules of their own; checkpointing, control_flow and collectives are made of them.

All take and return functions of pytrees and nest in any order.
"""
