# Toolchain: Clang with the headers and stubs of an old glibc, for wheels that run wherever that one is, or a newer.
#
#   -DCMAKE_TOOLCHAIN_FILE=packaging/zig.cmake -DNORMKERNELS_ZIG_TARGET=x86_64-linux-gnu.2.17
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES NORMKERNELS_ZIG_TARGET)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${NORMKERNELS_ZIG_TARGET}")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_CXX_COMPILER "${CMAKE_CURRENT_LIST_DIR}/zig-c++")
set(CMAKE_CXX_COMPILER_TARGET "${NORMKERNELS_ZIG_TARGET}")
set(CMAKE_AR ar)
set(CMAKE_RANLIB ranlib)
# The interpreter and the packages that build are this machine's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# Python before 3.14 ends threads by unwinding their stacks, with the unwinder of GCC. A module must not read that one's
# frames with another, as zig would link.
execute_process(COMMAND "${CMAKE_SYSTEM_PROCESSOR}-linux-gnu-gcc" -print-file-name=libgcc_s.so.1
                OUTPUT_VARIABLE unwinder OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(CMAKE_MODULE_LINKER_FLAGS_INIT "${unwinder}")
# What zig links into the module by itself, and nothing of its libc, unwinder or compiler-rt. LLVM's licence lets binaries go
# without its text.
set(NORMKERNELS_LINKED_LLVM libc++ libc++abi)
