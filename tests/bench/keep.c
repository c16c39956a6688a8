#include "tests/bench/keep.h"

#include "base/mem.h"
#include "tests/bench/say.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	FILE_BYTES = 32 * 1024 * 1024,
	PIECE_MAX = 8 * 1024 * 1024, /* goes into the file for certain */
	ZERO_BYTES = 1024 * 1024,
};

struct keep {
	void (*write)(struct keep *keep);
	int file;
	off_t at;
	sqlite3 *db;
	sqlite3_stmt *insert;
	struct buf piece;
	bool is_writing; /* the loop's; what the thread has is guarded below */
	int descriptor;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool has_piece;
};

/* -- a file -------------------------------------------------------------------------------------- */

static void write_all(int file, const char *bytes, size_t size, off_t at)
{
	while (size > 0) {
		ssize_t written = pwrite(file, bytes, size, at);
		if (written < 0)
			die("cannot write: %s", strerror(errno));
		bytes += written;
		size -= (size_t)written;
		at += written;
	}
}

static void write_file(struct keep *keep)
{
	if (keep->at + (off_t)keep->piece.size > FILE_BYTES)
		keep->at = 0;
	write_all(keep->file, keep->piece.data, keep->piece.size, keep->at);
	keep->at += (off_t)keep->piece.size;
	if (fdatasync(keep->file) != 0)
		die("cannot sync: %s", strerror(errno));
}

/* All of it is written before, so that no sync has to change what the file system knows of it. */
static void open_file(struct keep *keep, const char *path)
{
	char *zeros = mem_calloc(1, ZERO_BYTES);
	keep->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (keep->file < 0)
		die("cannot make %s: %s", path, strerror(errno));
	for (off_t at = 0; at < FILE_BYTES; at += ZERO_BYTES)
		write_all(keep->file, zeros, ZERO_BYTES, at);
	if (fsync(keep->file) != 0)
		die("cannot sync: %s", strerror(errno));
	free(zeros);
	keep->write = write_file;
}

/* -- SQLite -------------------------------------------------------------------------------------- */

static void check(struct keep *keep, bool is_good)
{
	if (!is_good)
		die("SQLite: %s", sqlite3_errmsg(keep->db));
}

static void write_row(struct keep *keep)
{
	check(keep, sqlite3_bind_blob64(keep->insert, 1, keep->piece.data, keep->piece.size,
					SQLITE_STATIC) == SQLITE_OK);
	check(keep, sqlite3_step(keep->insert) == SQLITE_DONE);
	sqlite3_reset(keep->insert);
}

static void open_database(struct keep *keep, const char *path)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	check(keep, sqlite3_open_v2(path, &keep->db, flags, NULL) == SQLITE_OK);
	check(keep, sqlite3_exec(keep->db,
				 "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;"
				 "PRAGMA synchronous = FULL;"
				 "CREATE TABLE kept (number INTEGER PRIMARY KEY, bytes BLOB);",
				 NULL, NULL, NULL) == SQLITE_OK);
	check(keep, sqlite3_prepare_v2(keep->db, "INSERT INTO kept (bytes) VALUES (?1)", -1,
				       &keep->insert, NULL) == SQLITE_OK);
	keep->write = write_row;
}

/* -- the thread ---------------------------------------------------------------------------------- */

static void *run(void *context)
{
	struct keep *keep = context;
	pthread_mutex_lock(&keep->lock);
	for (;;) {
		while (!keep->has_piece)
			pthread_cond_wait(&keep->changed, &keep->lock);
		keep->write(keep);
		keep->has_piece = false;
		if (eventfd_write(keep->descriptor, 1) != 0)
			die("cannot tell that it is written: %s", strerror(errno));
	}
	return NULL;
}

struct keep *keep_new(const char *kind, const char *folder)
{
	struct keep *keep = mem_new(struct keep);
	char *path = mem_printf("%s/kept", folder);
	keep->piece = BUF_INIT(PIECE_MAX);
	if (strcmp(kind, "file") == 0)
		open_file(keep, path);
	else if (strcmp(kind, "sqlite") == 0)
		open_database(keep, path);
	else
		die("--keep is \"file\" or \"sqlite\", not \"%s\"", kind);
	free(path);
	keep->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (keep->descriptor < 0 || pthread_mutex_init(&keep->lock, NULL) != 0 ||
	    pthread_cond_init(&keep->changed, NULL) != 0 ||
	    pthread_create(&keep->thread, NULL, run, keep) != 0)
		die("cannot start a thread");
	return keep;
}

int keep_descriptor(const struct keep *keep)
{
	return keep->descriptor;
}

bool keep_is_writing(const struct keep *keep)
{
	return keep->is_writing;
}

static void take(struct keep *keep, struct buf *piece)
{
	if (piece->failed != 0 || piece->size > PIECE_MAX)
		die("a piece is too large");
	struct buf taken = *piece;
	*piece = keep->piece;
	buf_reset(piece);
	keep->piece = taken;
}

void keep_write(struct keep *keep, struct buf *piece)
{
	pthread_mutex_lock(&keep->lock);
	take(keep, piece);
	keep->has_piece = true;
	pthread_cond_signal(&keep->changed);
	pthread_mutex_unlock(&keep->lock);
	keep->is_writing = true;
}

void keep_write_here(struct keep *keep, struct buf *piece)
{
	pthread_mutex_lock(&keep->lock);
	take(keep, piece);
	keep->write(keep);
	pthread_mutex_unlock(&keep->lock);
}

void keep_end(struct keep *keep)
{
	eventfd_t count;
	if (eventfd_read(keep->descriptor, &count) != 0)
		die("nothing was written: %s", strerror(errno));
	keep->is_writing = false;
}
