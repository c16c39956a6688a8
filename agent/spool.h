/* Many bytes in little memory: what is small stays there, what grows goes on to a file.
 * Bytes are appended, then read from the front, any number of times.
 *
 * A scratch spool's file has no name and is enciphered under a key that only this process
 * has: the plain text of sealed answers passes through it. A spool that is to be kept has a
 * file that can be given a name for good; what it holds is fit for the disk as it is.
 *
 * When the disk takes no more, the bytes go back into memory: a full disk costs memory, no
 * answer. Errors come only from reading and from the ceiling. */
#ifndef AGENT_SPOOL_H
#define AGENT_SPOOL_H

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream_cipher;

enum {
	SPOOL_MEMORY_BYTES = 256 * 1024, /* more than that goes to a file */
	SPOOL_PIECE_BYTES = 192 * 1024,  /* a good size to read in; a multiple of 3 */
};

enum spool_kind { SPOOL_SCRATCH, SPOOL_KEPT };

struct spool {
	enum spool_kind kind;
	const char *folder; /* NULL: all stays in memory */
	size_t max_bytes;
	size_t size;       /* of everything */
	struct buf memory; /* all of it, or what the file does not have yet */
	int fd;            /* -1: all is in memory */
	char *path;        /* of a file with a name */
	bool is_durable;   /* spool_keep was through */
	struct stream_cipher *cipher;
	struct str_utf8 text; /* of what the file has */
	size_t file_size;
	size_t read_offset;
};

/* folder is borrowed, on the disk of the journal. */
void spool_init(struct spool *spool, enum spool_kind kind, const char *folder, size_t max_bytes);
/* Empties it and frees what it has; a file that spool_keep named stays. */
void spool_release(struct spool *spool);
/* Empty again, of the same kind. */
void spool_reset(struct spool *spool);

/* ERR_LIMIT past the ceiling, ERR_MEMORY. */
NODISCARD int spool_append(struct spool *spool, const void *bytes, size_t size, struct error *err);

/* Replaces what it has by these bytes, in memory; bytes is empty then. */
void spool_take(struct spool *spool, struct buf *bytes);
/* The whole of a spool that is no file. */
const struct buf *spool_memory(const struct spool *spool);

/* The next bytes, as many as there is room for; fewer only at the end. Rewind before the
 * first. */
void spool_rewind(struct spool *spool);
NODISCARD int spool_read(struct spool *spool, void *out, size_t room, size_t *count,
			 struct error *err);
/* The next piece, of SPOOL_PIECE_BYTES or the rest: where it is, or read into scratch. */
NODISCARD int spool_next(struct spool *spool, struct buf *scratch, const char **bytes,
			 size_t *count, struct error *err);

bool spool_is_file(const struct spool *spool);
/* Of a scratch spool: is everything UTF-8? */
bool spool_is_utf8(const struct spool *spool);

/* A kept spool that is a file: all of it on disk, under this path. Once is enough. */
NODISCARD int spool_keep(struct spool *spool, const char *path, struct error *err);
/* Opens a file that was kept. */
NODISCARD int spool_open(struct spool *spool, const char *path, struct error *err);
/* Removes what an earlier life left unfinished in folder. */
void spool_clean(const char *folder);

#endif
