/* Large answers: files in the store's folder, one a command, named by its id. An upload is
 * written beside its file under another name and takes its place when it is whole. */
#ifndef SERVICE_ANSWERS_H
#define SERVICE_ANSWERS_H

#include "base/buf.h"
#include "base/error.h"
#include "service/store.h"

#include <stdint.h>

/* The caller frees the path. */
char *answer_path(const struct store *store, const char *command_id);
/* A new file of another name; the caller closes *fd and frees *path. */
NODISCARD int answer_create(const struct store *store, const char *command_id, int *fd, char **path,
			    struct error *err);
/* ERR_NOT_FOUND when nothing was uploaded. The caller closes *fd. */
NODISCARD int answer_open(const struct store *store, const char *command_id, int *fd,
			  uint64_t *size, struct error *err);
/* No file is fine too. */
void answer_remove(const struct store *store, const char *command_id);
/* Removes what a crash left: uploads that were never whole, and answers of commands that are
 * gone or have their answer in their record. */
void answers_clean(struct store *store);

#endif
