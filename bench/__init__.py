"""normkernels beside other libraries.

speed      how long it takes, beside them and beside what only moves the same bytes: docs/speed.md
accuracy   how far it is off, beside them: docs/accuracy.md
common     what both need: the libraries, a case and its data, the machine, Markdown, pictures

The first two are commands, from the root of the checkout: `python -m bench.speed --help`. CMake
builds speed/microbenchmarks.cpp, the same kernels timed from C++.
"""
