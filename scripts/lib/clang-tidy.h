/* Included by clang-tidy in front of every file but base/error.c. The analyser sees one file
 * at a time, so it does not know that these return the code they are given, which is never 0,
 * and would follow a failed call as if it had succeeded. */
#include "base/error.h"

#define error_set(err, code, ...)       (error_set((err), (code), __VA_ARGS__), (code))
#define error_set_errno(err, error, ...) (error_set_errno((err), (error), __VA_ARGS__), ERR_SYSTEM)
#define error_prefix(err, ...)          (error_prefix((err), __VA_ARGS__), ERR_SYSTEM)
