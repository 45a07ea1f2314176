"""How far normkernels is off, and whether that keeps the promises."""
