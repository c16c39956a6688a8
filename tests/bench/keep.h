/* The least that keeping commands and answers on disk can cost: what was gathered is written and
 * synced by one thread of its own, one piece at a time, and what nobody waits beside by the caller.
 * `floor --keep` waits for it where the agent waits for its journal. Nothing is read, found or dropped
 * again. Failures end the process. */
#ifndef BENCH_KEEP_H
#define BENCH_KEEP_H

#include "base/buf.h"

#include <stdbool.h>

struct keep;

/* In a new file in the folder. "file": what is written goes over the same 32 MiB again and again,
 * which is the cheapest that a file can be synced. "sqlite": a row for each piece, WAL and
 * synchronous=FULL, which is the least that a journal in SQLite can do. */
struct keep *keep_new(const char *kind, const char *folder);
/* Becomes readable when a piece was written. */
int keep_descriptor(const struct keep *keep);
bool keep_is_writing(const struct keep *keep);
/* Takes what is in the buffer, which is empty afterwards. Not while a piece is being written. */
void keep_write(struct keep *keep, struct buf *piece);
/* The same on the caller's thread: it is on disk at the end. */
void keep_write_here(struct keep *keep, struct buf *piece);
/* To be called when the descriptor is readable: the piece is on disk. */
void keep_end(struct keep *keep);

#endif
