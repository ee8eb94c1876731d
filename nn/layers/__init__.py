"""The layers, one file per family; nn re-exports them all."""
