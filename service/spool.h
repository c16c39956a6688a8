/* Large answers: files in the store's folder, one a command, named by its id. An upload is
 * written beside its file under another name and takes its place when it is whole. */
#ifndef SERVICE_SPOOL_H
#define SERVICE_SPOOL_H

#include "base/buf.h"
#include "base/error.h"
#include "service/store.h"

#include <stdbool.h>
#include <stdint.h>

/* The caller frees the path. */
char *spool_path(const struct store *store, const char *command_id);
/* A new file of another name; the caller closes *fd and frees *path. */
NODISCARD int spool_create(const struct store *store, const char *command_id, int *fd, char **path,
			   struct error *err);
/* ERR_NOT_FOUND when nothing was uploaded. The caller closes *fd. */
NODISCARD int spool_open(const struct store *store, const char *command_id, int *fd, uint64_t *size,
			 struct error *err);
/* No file is fine too. */
void spool_remove(const struct store *store, const char *command_id);
/* Removes answers of commands that are gone; at the start also what a crash left: uploads
 * that were never whole, and answers that are in their command's record. */
void spool_clean(struct store *store, bool is_start);

#endif
