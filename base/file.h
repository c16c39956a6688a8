/* Whole files: read with a ceiling, written so that a reader sees the old one or
 * the new one and nothing between. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/error.h"

#include <sys/types.h>

/* Appends the file at path ("-": standard input) to out. ERR_NOT_FOUND when there is
 * none, ERR_LIMIT when it does not fit into out, ERR_SYSTEM otherwise. A directory or
 * a device is an error, never a hang; a FIFO and standard input are read to the end. */
NODISCARD int file_read(const char *path, struct buf *out, struct error *err);

/* Writes beside path and renames over it, with fsync. */
NODISCARD int file_write_atomic(const char *path, const void *bytes, size_t size, mode_t mode,
				struct error *err);

/* After a rename: the name of path outlives a power cut. Nothing is said of a file system that
 * cannot do that. */
void file_sync_directory_of(const char *path);

/* Writes all bytes to a descriptor, through EINTR and short writes. */
NODISCARD int file_write_all(int fd, const void *bytes, size_t size, struct error *err);

#endif
