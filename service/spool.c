#include "service/spool.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX      ".json"
#define PART_SUFFIX ".part"

char *spool_path(const struct store *store, const char *command_id)
{
	return mem_printf("%s/%s" SUFFIX, store_folder(store), command_id);
}

int spool_create(const struct store *store, const char *command_id, int *fd, char **path,
		 struct error *err)
{
	char unique[UUID_TEXT_SIZE];
	random_uuid(unique);
	char *name = mem_printf("%s/%s.%s" PART_SUFFIX, store_folder(store), command_id, unique);
	int made = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (made < 0) {
		int rc = error_set_errno(err, errno, "create %s", name);
		free(name);
		return rc;
	}
	*fd = made;
	*path = name;
	return 0;
}

int spool_open(const struct store *store, const char *command_id, int *fd, uint64_t *size,
	       struct error *err)
{
	struct stat info = {0};
	char *path = spool_path(store, command_id);
	int opened = open(path, O_RDONLY | O_CLOEXEC);
	int rc = 0;
	if (opened < 0 && errno == ENOENT)
		rc = error_set(err, ERR_NOT_FOUND, "nothing was uploaded");
	else if (opened < 0 || fstat(opened, &info) < 0)
		rc = error_set_errno(err, errno, "open %s", path);
	free(path);
	if (rc < 0) {
		if (opened >= 0)
			(void)close(opened); /* only read from */
		return rc;
	}
	*fd = opened;
	*size = (uint64_t)info.st_size;
	return 0;
}

void spool_remove(const struct store *store, const char *command_id)
{
	char *path = spool_path(store, command_id);
	(void)unlink(path); /* what is left is removed at the next start */
	free(path);
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name);
	return length >= strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0;
}

/* Only names that this service makes are looked at. */
static bool is_left_over(struct store *store, const char *name, bool is_start)
{
	char id[UUID_TEXT_SIZE];
	struct command command;
	if (strlen(name) < UUID_TEXT_SIZE - 1)
		return false;
	memcpy(id, name, UUID_TEXT_SIZE - 1);
	id[UUID_TEXT_SIZE - 1] = '\0';
	if (command_seq(id) == 0)
		return false;
	if (has_suffix(name, PART_SUFFIX))
		return is_start;
	if (!has_suffix(name, SUFFIX))
		return false;
	int rc = store_command_find(store, NULL, id, &command, NULL);
	if (rc < 0)
		return rc == ERR_NOT_FOUND;
	return is_start && status_is_terminal(command.status) && command.response != RESPONSE_FILE;
}

void spool_clean(struct store *store, bool is_start)
{
	DIR *folder = opendir(store_folder(store));
	if (!folder)
		return; /* store_open() has looked after it */
	struct dirent *entry;
	while ((entry = readdir(folder))) {
		if (is_left_over(store, entry->d_name, is_start))
			(void)unlinkat(dirfd(folder), entry->d_name, 0); /* or next time */
	}
	(void)closedir(folder); /* only read from */
}
