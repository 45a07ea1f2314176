"""How long normkernels takes, and whether that reaches the bars."""
