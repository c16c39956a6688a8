#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

static int open_error(const char *path, int os_errno, struct error *err)
{
	int code = error_set_errno(err, os_errno, "reading %s", path);

	if (os_errno != ENOENT && os_errno != ENOTDIR)
		return code;
	if (err)
		err->code = ERR_NOT_FOUND;
	return ERR_NOT_FOUND;
}

static int check_kind(const char *path, const struct stat *info, struct error *err)
{
	if (S_ISREG(info->st_mode) || S_ISFIFO(info->st_mode))
		return 0;
	return error_set(err, ERR_SYSTEM, "reading %s: is %s, not a file", path,
			 S_ISDIR(info->st_mode) ? "a directory" : "a device or a socket");
}

/* The kind is looked at before opening, because opening a device may block or do
 * something, and once more after it, because the path may have changed meanwhile. */
static int open_for_reading(const char *path, int *ret_fd, size_t *ret_hint, struct error *err)
{
	struct stat info;
	int fd, code;

	if (stat(path, &info) < 0)
		return open_error(path, errno, err);
	if ((code = check_kind(path, &info, err)) < 0)
		return code;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return open_error(path, errno, err);
	if (fstat(fd, &info) < 0)
		code = error_set_errno(err, errno, "reading %s", path);
	else
		code = check_kind(path, &info, err);
	if (code < 0) {
		close(fd);
		return code;
	}
	*ret_fd = fd;
	*ret_hint = S_ISREG(info.st_mode) && info.st_size > 0 ? (size_t)info.st_size : 0;
	return 0;
}

/* Reads straight into out, so that no second copy of a secret is left anywhere. A full
 * buffer is tried with one byte more: a file may be exactly as large as allowed. */
static int read_all(int fd, const char *path, size_t hint, struct buf *out, struct error *err)
{
	for (;;) {
		size_t room = out->max > out->size ? out->max - out->size : 0;
		size_t want = hint > READ_BYTES ? hint : READ_BYTES;
		char probe;
		ssize_t got;

		want = room < want ? room : want;
		if (room > 0 && buf_reserve(out, want) < 0)
			return error_set(err, ERR_MEMORY, "reading %s: out of memory", path);
		got = room > 0 ? read(fd, out->data + out->size, want) : read(fd, &probe, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "reading %s", path);
		if (got == 0)
			return 0;
		if (room == 0)
			return error_set(err, ERR_LIMIT, "reading %s: larger than %zu bytes", path,
					 out->max);
		out->size += (size_t)got;
		out->data[out->size] = '\0';
		hint = hint > (size_t)got ? hint - (size_t)got : 0;
	}
}

int file_read(const char *path, struct buf *out, struct error *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	size_t before = out->size, hint = 0;
	int fd = STDIN_FILENO, code;

	if ((code = buf_check(out, path, err)) < 0)
		return code;
	if (!is_stdin && (code = open_for_reading(path, &fd, &hint, err)) < 0)
		return code;
	code = read_all(fd, is_stdin ? "standard input" : path, hint, out, err);
	if (code < 0) {
		buf_truncate(out, before);
		out->failed = 0;
	}
	if (!is_stdin)
		close(fd);
	return code;
}

int file_write_all(int fd, const void *bytes, size_t size, struct error *err)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t written = write(fd, at, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return error_set_errno(err, errno, "writing");
		at += written;
		size -= (size_t)written;
	}
	return 0;
}

/* Makes the rename itself durable. A file system that cannot do it is not an error of
 * ours: the file is in place. */
void file_sync_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory =
	    slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	free(directory);
}

static int write_and_close(int fd, const void *bytes, size_t size, mode_t mode, struct error *err)
{
	int code = file_write_all(fd, bytes, size, err);

	if (code == 0 && fchmod(fd, mode) < 0)
		code = error_set_errno(err, errno, "setting the mode");
	if (code == 0 && fsync(fd) < 0)
		code = error_set_errno(err, errno, "fsync");
	if (close(fd) < 0 && code == 0)
		code = error_set_errno(err, errno, "closing");
	return code;
}

int file_write_atomic(const char *path, const void *bytes, size_t size, mode_t mode,
		      struct error *err)
{
	char *beside = mem_printf("%s.XXXXXX", path);
	int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 until it is complete */
	int code;

	if (fd < 0) {
		code = error_set_errno(err, errno, "writing %s", path);
		goto out;
	}
	code = write_and_close(fd, bytes, size, mode, err);
	if (code < 0) {
		error_prefix(err, "writing %s", path);
	} else if (rename(beside, path) < 0) {
		code = error_set_errno(err, errno, "writing %s", path);
	}
	if (code < 0)
		(void)unlink(beside);
	else
		file_sync_directory_of(path);
out:
	free(beside);
	return code;
}
