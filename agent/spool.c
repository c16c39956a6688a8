#include "agent/spool.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/random.h"
#include "crypto/stream_cipher.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char PART_SUFFIX[] = ".part";

enum { WRITE_BYTES = 64 * 1024 }; /* gathered before they go to the file */

void spool_init(struct spool *spool, enum spool_kind kind, const char *folder, size_t max_bytes)
{
	*spool = (struct spool){.kind = kind,
				.folder = folder,
				.max_bytes = max_bytes,
				.memory = BUF_INIT(max_bytes),
				.fd = -1};
}

static void close_file(struct spool *spool)
{
	if (spool->fd >= 0)
		close(spool->fd);
	if (spool->path != NULL && !spool->is_durable)
		(void)unlink(spool->path); /* else spool_clean does it at the next start */
	stream_cipher_free(spool->cipher);
	free(spool->path);
	spool->fd = -1;
	spool->path = NULL;
	spool->cipher = NULL;
	spool->is_durable = false;
	spool->text = (struct str_utf8){0};
	spool->file_size = 0;
}

void spool_release(struct spool *spool)
{
	if (spool->max_bytes == 0)
		return; /* never initialised */
	close_file(spool);
	buf_wipe(&spool->memory);
	spool->size = 0;
	spool->read_offset = 0;
}

void spool_reset(struct spool *spool)
{
	spool_release(spool);
	spool_init(spool, spool->kind, spool->folder, spool->max_bytes);
}

static int open_file(struct spool *spool)
{
	if (spool->kind == SPOOL_SCRATCH) {
		spool->fd = open(spool->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		spool->cipher = stream_cipher_new();
		return spool->fd >= 0 ? 0 : -1;
	}
	char id[UUID_TEXT_SIZE];
	random_uuid(id);
	spool->path = mem_printf("%s/%s%s", spool->folder, id, PART_SUFFIX);
	spool->fd = open(spool->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return spool->fd >= 0 ? 0 : -1;
}

/* What is in memory goes behind what the file has. */
static int write_out(struct spool *spool, struct error *err)
{
	struct buf *memory = &spool->memory;
	if (memory->size == 0)
		return 0;
	if (spool->kind == SPOOL_SCRATCH) /* of others it is not asked */
		str_utf8_add(&spool->text, memory->data, memory->size);
	if (spool->cipher != NULL)
		stream_cipher_apply(spool->cipher, memory->data, memory->size);
	/* A write that failed half-way may be tried again. */
	if (lseek(spool->fd, (off_t)spool->file_size, SEEK_SET) < 0)
		return error_set_errno(err, errno, "writing a spooled answer");
	if (file_write_all(spool->fd, memory->data, memory->size, err) != 0)
		return ERR_SYSTEM;
	/* The disk begins now, so that making it durable at the end does not take long. */
	if (spool->kind == SPOOL_KEPT)
		(void)sync_file_range(spool->fd, (off_t)spool->file_size, (off_t)memory->size,
				      SYNC_FILE_RANGE_WRITE);
	spool->file_size += memory->size;
	buf_reset(memory);
	return 0;
}

static int read_file(struct spool *spool, size_t offset, void *out, size_t size, struct error *err)
{
	char *at = out;
	while (size > 0) {
		ssize_t count = pread(spool->fd, at, size, (off_t)offset);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return error_set_errno(err, errno, "reading a spooled answer");
		if (count == 0)
			return error_set(err, ERR_SYSTEM, "a spooled answer is cut short");
		at += count;
		offset += (size_t)count;
		size -= (size_t)count;
	}
	return 0;
}

/* The disk takes no more: everything into memory, where it stays. */
static int retreat(struct spool *spool, struct error *err)
{
	struct buf all = BUF_INIT(spool->max_bytes);
	if (buf_reserve(&all, spool->size) != 0)
		return buf_check(&all, "an answer", err);
	if (spool->fd >= 0 && read_file(spool, 0, all.data, spool->file_size, err) != 0) {
		buf_release(&all);
		return ERR_SYSTEM;
	}
	all.size = spool->file_size;
	(void)buf_append(&all, buf_str(&spool->memory), spool->memory.size); /* was reserved */
	if (spool->cipher != NULL) {
		/* What failed to be written is enciphered too. */
		stream_cipher_rewind(spool->cipher);
		stream_cipher_apply(spool->cipher, all.data, all.size);
	}
	buf_release(&spool->memory);
	spool->memory = all;
	close_file(spool);
	spool->folder = NULL;
	return 0;
}

static int append_piece(struct spool *spool, const void *bytes, size_t size, struct error *err)
{
	if (buf_append(&spool->memory, bytes, size) != 0)
		return buf_check(&spool->memory, "an answer", err);
	spool->size += size;
	size_t limit = spool->fd >= 0 ? WRITE_BYTES : SPOOL_MEMORY_BYTES;
	if (spool->folder == NULL || spool->memory.size <= limit)
		return 0;
	struct error cause;
	if (spool->fd < 0 && open_file(spool) != 0) {
		error_set_errno(&cause, errno, "making a file in %s", spool->folder);
	} else if (write_out(spool, &cause) == 0) {
		if (spool->memory.capacity > 2 * WRITE_BYTES)
			buf_release(&spool->memory); /* grown while all was there */
		return 0;
	}
	log_warn("an answer or a command of more than %zu bytes stays in memory: %s", spool->size,
		 cause.message);
	/* Nothing of it was enciphered when there was no file to write to. */
	if (spool->fd < 0)
		close_file(spool);
	return retreat(spool, err);
}

/* Piece by piece, so that what is large and goes to a file is not in memory once more. */
int spool_append(struct spool *spool, const void *bytes, size_t size, struct error *err)
{
	const char *at = bytes;
	if (size > spool->max_bytes - spool->size)
		return error_set(err, ERR_LIMIT, "larger than %zu bytes", spool->max_bytes);
	while (size > 0) {
		size_t count = size < SPOOL_MEMORY_BYTES ? size : SPOOL_MEMORY_BYTES;
		int rc = append_piece(spool, at, count, err);
		if (rc != 0)
			return rc;
		at += count;
		size -= count;
	}
	return 0;
}

void spool_rewind(struct spool *spool)
{
	spool->read_offset = 0;
	if (spool->cipher != NULL)
		stream_cipher_rewind(spool->cipher);
}

int spool_read(struct spool *spool, void *out, size_t room, size_t *count, struct error *err)
{
	size_t left = spool->size - spool->read_offset;
	size_t size = room < left ? room : left;
	size_t in_file = 0;
	if (spool->read_offset < spool->file_size) {
		in_file = spool->file_size - spool->read_offset;
		in_file = size < in_file ? size : in_file;
		if (read_file(spool, spool->read_offset, out, in_file, err) != 0)
			return ERR_SYSTEM;
		if (spool->cipher != NULL)
			stream_cipher_apply(spool->cipher, out, in_file);
	}
	if (size > in_file)
		memcpy((char *)out + in_file,
		       spool->memory.data + (spool->read_offset + in_file - spool->file_size),
		       size - in_file);
	spool->read_offset += size;
	*count = size;
	return 0;
}

int spool_next(struct spool *spool, struct buf *scratch, const char **bytes, size_t *count,
	       struct error *err)
{
	if (spool->fd < 0) {
		size_t left = spool->size - spool->read_offset;
		*count = left < SPOOL_PIECE_BYTES ? left : SPOOL_PIECE_BYTES;
		*bytes = buf_str(&spool->memory) + spool->read_offset;
		spool->read_offset += *count;
		return 0;
	}
	buf_reset(scratch);
	if (buf_reserve(scratch, SPOOL_PIECE_BYTES) != 0)
		return buf_check(scratch, "a piece of an answer", err);
	if (spool_read(spool, scratch->data, SPOOL_PIECE_BYTES, &scratch->size, err) != 0)
		return ERR_SYSTEM;
	*bytes = scratch->data;
	*count = scratch->size;
	return 0;
}

void spool_take(struct spool *spool, struct buf *bytes)
{
	spool_reset(spool);
	spool->memory = *bytes;
	spool->memory.max = spool->max_bytes;
	spool->size = bytes->size;
	*bytes = BUF_INIT(0);
}

const struct buf *spool_memory(const struct spool *spool)
{
	assert(spool->fd < 0);
	return &spool->memory;
}

bool spool_is_file(const struct spool *spool)
{
	return spool->fd >= 0;
}

bool spool_is_utf8(const struct spool *spool)
{
	struct str_utf8 check = spool->text;
	str_utf8_add(&check, buf_str(&spool->memory), spool->memory.size);
	return str_utf8_is_whole(&check);
}

int spool_keep(struct spool *spool, const char *path, struct error *err)
{
	if (spool->is_durable)
		return 0;
	if (write_out(spool, err) != 0)
		return ERR_SYSTEM;
	if (fdatasync(spool->fd) != 0)
		return error_set_errno(err, errno, "writing %s", spool->path);
	if (rename(spool->path, path) != 0)
		return error_set_errno(err, errno, "renaming %s to %s", spool->path, path);
	file_sync_directory_of(path);
	free(spool->path);
	spool->path = mem_strdup(path);
	spool->is_durable = true;
	return 0;
}

int spool_open(struct spool *spool, const char *path, struct error *err)
{
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "reading %s", path);
	if (fstat(fd, &info) != 0 || info.st_size < 0) {
		int rc = error_set_errno(err, errno, "reading %s", path);
		close(fd);
		return rc;
	}
	spool_init(spool, SPOOL_KEPT, NULL, SIZE_MAX / 2);
	spool->fd = fd;
	spool->path = mem_strdup(path);
	spool->is_durable = true;
	spool->size = spool->file_size = (size_t)info.st_size;
	return 0;
}

void spool_clean(const char *folder)
{
	DIR *dir = opendir(folder);
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		size_t length = strlen(entry->d_name);
		size_t suffix = sizeof PART_SUFFIX - 1;
		if (length > suffix && strcmp(entry->d_name + length - suffix, PART_SUFFIX) == 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0); /* tried again next time */
	}
	closedir(dir);
}
